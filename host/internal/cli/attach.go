package cli

import (
	"mime"
	"os"
	"path/filepath"
	"strings"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// files are open files, to be sent with a job.
type files struct {
	list []client.File
	open []*os.File
}

func (f *files) close() {
	for _, file := range f.open {
		_ = file.Close() // they were only read
	}
}

// openFiles opens files, each given as FILE or as FILE=NAME.
func openFiles(given []string) (_ *files, err error) {
	f := &files{}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	for _, text := range given {
		path, name := text, filepath.Base(text)
		if at := strings.LastIndexByte(text, '='); at > 0 {
			if _, err := os.Lstat(text); err != nil { // else that is what the file is called
				path, name = text[:at], text[at+1:]
			}
		}
		file, err := os.Open(path)
		if err != nil {
			return nil, usagef("--attach: %w", err)
		}
		f.open = append(f.open, file)
		if info, err := file.Stat(); err != nil || info.IsDir() {
			return nil, usagef("--attach: %s is a folder; attach a file, such as an archive of it", path)
		}
		f.list = append(f.list, client.File{Name: name, ContentType: mime.TypeByExtension(filepath.Ext(name)), Content: file})
	}
	return f, nil
}
