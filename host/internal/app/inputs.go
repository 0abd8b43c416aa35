package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/heimdall-run/heimdall/host/internal/artifacts"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/peer"
)

// inputs opens the files that come with jobs: where hosts share no artifacts, the one
// that took them is asked.
type inputs struct {
	artifacts *artifacts.Store
	peers     *peer.Peers
	host      string // this one
}

// Input opens the file of an index that came with a job.
func (s inputs) Input(ctx context.Context, j *job.Job, index int) (io.ReadCloser, error) {
	a := j.Attachments[index]
	content, err := s.artifacts.Attachment(ctx, j.ID, index)
	if err == nil {
		return content, nil
	}
	if !errs.Is(err, errs.NotFound) || a.Host == s.host {
		return nil, err
	}
	uri := "/api/v1/job/" + string(j.ID) + "/attachments/" + url.PathEscape(a.Name)
	answer, err := s.peers.Ask(ctx, a.Host, j.User, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		_ = answer.Body.Close() // it was not read
		return nil, fmt.Errorf("host %s, which took it, answers %s", a.Host, answer.Status)
	}
	return answer.Body, nil
}
