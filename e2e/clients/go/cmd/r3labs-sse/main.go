// Command r3labs-sse is the adapter of github.com/r3labs/sse/v2 with its defaults.
package main

import (
	"time"

	"github.com/r3labs/sse/v2"

	"revenprox.invalid/clients/internal/adapter"
)

func main() {
	url, token := adapter.Arguments()
	client := sse.NewClient(url)
	client.Headers["Authorization"] = "Bearer " + token
	client.OnConnect(func(*sse.Client) { adapter.Report("open", nil) })
	client.ReconnectNotify = func(err error, _ time.Duration) {
		adapter.Report("error", map[string]any{"message": err.Error()})
	}
	err := client.SubscribeRaw(func(event *sse.Event) {
		adapter.Event(string(event.ID), string(event.Event), string(event.Data))
	})
	more := map[string]any{}
	if err != nil {
		more["message"] = err.Error()
	}
	adapter.Report("closed", more)
}
