// Command dashboards reads Grafana dashboards with the types that Grafana publishes, and fails on a field they do not know, a wrong type, or a value
// out of range.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	failed := false
	for _, name := range os.Args[1:] {
		if err := check(name); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func check(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var read dashboard.Dashboard
	if err := finding(read.UnmarshalJSONStrict(text)); err != nil {
		return err
	}
	return finding(read.Validate())
}

// finding drops an error that says nothing: a list of no findings is not nil.
func finding(err error) error {
	if err != nil && err.Error() == "" {
		return nil
	}
	return err
}
