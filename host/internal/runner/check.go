package runner

import (
	"context"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
)

// Check asks the plugin of a command whether jobs of it could be done on a cluster now.
func (r *Runner) Check(ctx context.Context, command *catalog.Command, cluster *catalog.Cluster) (pluginhost.Health, error) {
	settings, secrets, err := r.settings(command, cluster)
	if err != nil {
		return pluginhost.Health{}, err
	}
	return r.Plugins.Check(ctx, command.Plugin, command.PluginVersion, settings, secrets)
}
