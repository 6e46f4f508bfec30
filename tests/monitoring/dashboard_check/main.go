// Reads dashboards as strictly as Grafana's own types allow: an unknown field, a wrong type or a missing one is refused.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func refused(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var read dashboard.Dashboard
	if err := found(read.UnmarshalJSONStrict(content)); err != nil {
		return err
	}
	return found(read.Validate())
}

// An empty list of errors is none; the module gives it as an error all the same.
func found(err error) error {
	if list, listed := err.(cog.BuildErrors); listed && len(list) == 0 {
		return nil
	}
	return err
}

func main() {
	plugins.RegisterDefaultPlugins()
	code := 0
	for _, path := range os.Args[1:] {
		if err := refused(path); err != nil {
			fmt.Printf("%s: %v\n", path, err)
			code = 1
		}
	}
	os.Exit(code)
}
