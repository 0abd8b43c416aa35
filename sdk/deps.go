package sdk
import (
 _ "github.com/hashicorp/go-plugin"
 _ "google.golang.org/grpc"
 _ "google.golang.org/protobuf/proto"
 _ "golang.org/x/sys/unix"
)
