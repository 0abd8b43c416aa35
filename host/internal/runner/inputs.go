package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/heimdall-run/heimdall/host/internal/folder"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// Inputs opens the files that come with jobs.
type Inputs interface {
	// Input opens the file of an index that came with a job, wherever it lies.
	Input(ctx context.Context, j *job.Job, index int) (io.ReadCloser, error)
}

// inputsFolder is where in its own folder a job finds the files that came with it.
const inputsFolder = "inputs"

// place puts the files that came with a job into its folder, where they can only be
// read, and names them in the request. What an earlier life of the host had placed for
// the attempt is placed anew.
func (r *Runner) place(ctx context.Context, c job.Claimed, request *pluginhost.Request) *job.Error {
	if len(c.Job.Attachments) == 0 {
		return nil
	}
	work := request.Folders.Work
	if err := os.MkdirAll(work, 0o700); err != nil {
		return unavailable("the folder for the files of the job cannot be made: %v", err)
	}
	root, err := folder.Open(work)
	if err != nil {
		return unavailable("the folder for the files of the job cannot be opened: %v", err)
	}
	defer root.Close()
	if err := errors.Join(root.RemoveAll(inputsFolder), root.Mkdir(inputsFolder, 0o700)); err != nil {
		return unavailable("the folder for the files of the job cannot be made: %v", err)
	}
	for i, a := range c.Job.Attachments {
		if err := r.placeFile(ctx, root, c.Job, i); err != nil {
			return unavailable("the file %q that came with the job cannot be placed: %v", a.Name, err)
		}
		sum, _ := hex.DecodeString(a.SHA256) // it was compared
		request.Inputs = append(request.Inputs, pluginhost.Input{
			Name: a.Name, Path: filepath.Join(work, inputsFolder, a.Name), Bytes: a.Bytes, SHA256: sum, ContentType: a.ContentType,
		})
	}
	return nil
}

func (r *Runner) placeFile(ctx context.Context, root *os.Root, j *job.Job, index int) error {
	a := j.Attachments[index]
	content, err := r.Inputs.Input(ctx, j, index)
	if err != nil {
		return err
	}
	defer content.Close()
	f, err := root.OpenFile(filepath.Join(inputsFolder, a.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(content, a.Bytes+1))
	if err = errors.Join(err, f.Close(), context.Cause(ctx)); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != a.Bytes || got != a.SHA256 {
		return fmt.Errorf("what is kept of it has %d bytes with the SHA-256 %s, not %d with %s", n, got, a.Bytes, a.SHA256)
	}
	return nil
}
