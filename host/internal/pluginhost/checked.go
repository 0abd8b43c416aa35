package pluginhost

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
)

const (
	// signatureSuffix follows the name of a report in the name of its signature.
	signatureSuffix = ".sig"
	// maxReport bounds the bytes of a report that are read.
	maxReport = 4 << 20
)

// proof is the report of a check beside a binary, and its signature.
type proof struct {
	report, signature []byte
}

// checked holds a build against the report of its check, where the operator
// wants that, and keeps the report with the build, so that it can be run again
// when the file in the plugin folder has become another.
func (h *Host) checked(f found, b build) error {
	if !h.config.RequireCheck {
		return nil
	}
	path := f.path + checkreport.Suffix
	p, err := readProof(path, h.key != nil)
	if m, ok := errors.AsType[missing](err); ok {
		switch {
		case m.path != path:
			return fmt.Errorf("plugins.check_key is set and %w: sign %s", m, filepath.Base(path))
		case h.key != nil:
			return fmt.Errorf("plugins.require_check is set and %w: write it with heimdall plugin check %s --report %s, and sign it", m, f.path, path)
		}
		return fmt.Errorf("plugins.require_check is set and %w: write it with heimdall plugin check %s --report %s", m, f.path, path)
	}
	if err != nil {
		return err
	}
	if err := p.proves(b.digest, h.key); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return p.keep(b)
}

// vouched reports whether the build of an earlier life may run: whether the
// report that was kept with it proves it, where the operator wants that.
func (h *Host) vouched(b build) bool {
	if !h.config.RequireCheck {
		return true
	}
	p, err := readProof(b.path+checkreport.Suffix, h.key != nil)
	return err == nil && p.proves(b.digest, h.key) == nil
}

// readProof reads a report and, where it must be signed, its signature.
func readProof(path string, signed bool) (p proof, err error) {
	if p.report, err = readSmall(path); err != nil {
		return proof{}, err
	}
	if signed {
		p.signature, err = readSmall(path + signatureSuffix)
	}
	return p, err
}

// missing is a file that is not there.
type missing struct{ path string }

// Error names the file.
func (m missing) Error() string { return "there is no " + filepath.Base(m.path) }

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing{path}
	case err != nil:
		return nil, fmt.Errorf("read the report of a check: %w", err)
	case !info.Mode().IsRegular() || info.Size() > maxReport:
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, maxReport)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the report of a check: %w", err)
	}
	return content, nil
}

// proves returns nil when the report says that the binary of a digest has passed
// and, if there is a key, somebody who has its other half says so too.
func (p proof) proves(digest string, key ed25519.PublicKey) error {
	if key != nil && !ed25519.Verify(key, p.report, p.signature) {
		return errors.New("its signature is not one of this report with the key of plugins.check_key: sign the report again")
	}
	_, err := checkreport.Verify(p.report, digest)
	return err
}

// keep writes the proof beside the build in the store.
func (p proof) keep(b build) error {
	path := b.path + checkreport.Suffix
	err := os.WriteFile(path, p.report, 0o600)
	if err == nil && p.signature != nil {
		err = os.WriteFile(path+signatureSuffix, p.signature, 0o600)
	}
	if err != nil {
		return unkept{fmt.Errorf("the report of its check: %w", err)}
	}
	return nil
}

// proofStamp tells whether the report beside a file, or its signature, has
// changed since the last look.
func (h *Host) proofStamp(path string) (stamps [2]stamp) {
	if !h.config.RequireCheck {
		return stamps
	}
	for i, suffix := range []string{checkreport.Suffix, checkreport.Suffix + signatureSuffix} {
		if info, err := os.Stat(path + suffix); err == nil {
			stamps[i] = stampOf(info)
		}
	}
	return stamps
}

// readKey reads a public key of ed25519 in PEM, as openssl writes it.
func readKey(path string) (ed25519.PublicKey, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read plugins.check_key: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("plugins.check_key: %s holds no PUBLIC KEY in PEM: write it with openssl pkey -pubout", path)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("plugins.check_key: %s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("plugins.check_key: %s holds a key of another kind: make one with openssl genpkey -algorithm ed25519", path)
	}
	return key, nil
}
