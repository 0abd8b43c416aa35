package runner

import (
	"bytes"
	"context"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// leastSecret is the length of the shortest secret that is looked for in what a plugin
// says: shorter ones are parts of words.
const leastSecret = 4

// Check asks the plugin of a command whether jobs of it could be done on a cluster now.
// What it says shows no secret of theirs.
func (r *Runner) Check(ctx context.Context, command *catalog.Command, cluster *catalog.Cluster) (pluginhost.Health, error) {
	settings, secrets, err := r.settings(command, cluster)
	if err != nil {
		return pluginhost.Health{}, err
	}
	health, err := r.Plugins.Check(ctx, command.Plugin, command.PluginVersion, settings, secrets)
	detail := []byte(health.Detail)
	for _, secret := range secrets {
		if len(secret) >= leastSecret {
			detail = bytes.ReplaceAll(detail, secret, []byte("[secret]"))
		}
	}
	health.Detail = string(detail)
	return health, err
}
