// Package adapter is what the adapters of Go's libraries share: the command line and the reports.
package adapter

import (
	"encoding/json"
	"flag"
	"os"
	"sync"
)

// Arguments returns the URL of the stream and the token to send.
func Arguments() (url, token string) {
	// The URL comes first, and the package flag stops at the first argument that is none.
	flags := flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	flags.StringVar(&token, "token", "", "the token to send")
	flags.String("types", "", "the types of events; not needed here")
	if err := flags.Parse(os.Args[2:]); err != nil {
		os.Exit(2)
	}
	return os.Args[1], token
}

var output sync.Mutex

// Report writes one report as a line of JSON.
func Report(kind string, more map[string]any) {
	line := map[string]any{"type": kind}
	for name, value := range more {
		line[name] = value
	}
	output.Lock()
	defer output.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		os.Exit(1)
	}
}

// Event reports an event.
func Event(id, event, data string) {
	Report("event", map[string]any{"id": id, "event": event, "data": data})
}
