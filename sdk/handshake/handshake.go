// Package handshake holds what a host and a plugin must agree on before they can
// talk. Both sides take the values from here.
package handshake

import (
	"context"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// ProtocolVersion is the version of the plugin protocol (heimdall.plugin.v1).
const ProtocolVersion = 1

// Name is the key of the one entry in the set of plugins that is dispensed.
const Name = "heimdall"

const (
	// MaxMessage is the largest message that a plugin accepts, in bytes.
	MaxMessage = 64 << 20
	// MaxAnswer is the largest message that a host accepts, in bytes: what is
	// larger travels in files.
	MaxAnswer = 4 << 20
)

// Config makes sure that a plugin is started by a host and not by a person.
var Config = plugin.HandshakeConfig{
	ProtocolVersion:  ProtocolVersion,
	MagicCookieKey:   "HEIMDALL_PLUGIN_COOKIE",
	MagicCookieValue: "1f0c5b1e6f5e4c0fa7c6d0c8f2b9a4d3",
}

// Set returns the set of plugins for go-plugin. The host passes nil and
// dispenses the connection (a *grpc.ClientConn) under Name; the plugin passes
// what registers its services.
func Set(register func(grpc.ServiceRegistrar)) plugin.PluginSet {
	return plugin.PluginSet{Name: &entry{register: register}}
}

type entry struct {
	plugin.NetRPCUnsupportedPlugin
	register func(grpc.ServiceRegistrar)
}

// GRPCServer implements plugin.GRPCPlugin.
func (e *entry) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	e.register(server)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin.
func (e *entry) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
