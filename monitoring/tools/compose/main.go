// Command compose reads a Compose file with the library that Docker Compose reads it with, which compares it with the schema of the Compose
// specification and looks whether it is consistent, and prints the project as JSON. With -yaml it prints any YAML file as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	"go.yaml.in/yaml/v4"
)

func main() {
	var text []byte
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "-yaml":
		text, err = convert(os.Args[2])
	case len(os.Args) == 2:
		text, err = load(os.Args[1])
	default:
		err = fmt.Errorf("usage: compose [-yaml] FILE")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(string(text))
}

func load(name string) ([]byte, error) {
	folder := cli.WithWorkingDirectory(filepath.Dir(name))
	// Without the environment, so that the result is the same everywhere.
	options, err := cli.NewProjectOptions([]string{name}, folder, cli.WithName("revenprox"))
	if err != nil {
		return nil, err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return nil, err
	}
	return project.MarshalJSON()
}

func convert(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var value map[string]any
	if err := yaml.Unmarshal(text, &value); err != nil {
		return nil, err
	}
	return json.MarshalIndent(value, "", "  ")
}
