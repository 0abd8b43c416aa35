package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"

	"github.com/heimdall-run/heimdall/sdk"
)

// leak tells the password where it should not be.
func (f *Faulty) leak(_ context.Context, job *sdk.Job[Input]) error {
	for _, where := range job.Input.Leak {
		switch where {
		case "log":
			fmt.Fprintf(os.Stderr, "connecting with %s\n", f.Password)
			fmt.Fprintf(os.Stderr, "%q\n", f.Password)
			fmt.Printf("%x\n", f.Password)
		case "output":
			job.Output("url", "sql://user:"+f.Password+"@host")
			job.Output("key "+f.Password, base64.StdEncoding.EncodeToString([]byte(f.Password)))
		case "progress":
			job.Progress(1, 2, "connected with "+f.Password)
		case "usage":
			job.Usage("bytes of "+f.Password, 1)
		case "stdout":
			fmt.Fprintln(job.Stdout, f.Password)
		case "error":
			return &sdk.Error{Class: sdk.Denied, Message: "no access with " + f.Password, Detail: f.Password}
		case "panic":
			panic("no access with " + f.Password)
		case "crash":
			go panic("no access with " + f.Password)
			select {}
		}
	}
	return nil
}
