package main
import _ "github.com/heimdall-run/heimdall/sdk"
func main(){}
