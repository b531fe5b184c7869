// Command tmaxmax-go-sse is the adapter of github.com/tmaxmax/go-sse with its default client.
package main

import (
	"net/http"
	"time"

	"github.com/tmaxmax/go-sse"

	"revenprox.invalid/clients/internal/adapter"
)

func main() {
	url, token := adapter.Arguments()
	request, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		panic(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	client := sse.Client{OnRetry: func(err error, _ time.Duration) {
		adapter.Report("error", map[string]any{"message": err.Error()})
	}}
	connection := client.NewConnection(request)
	connection.SubscribeToAll(func(event sse.Event) {
		adapter.Event(event.LastEventID, event.Type, event.Data)
	})
	err = connection.Connect()
	adapter.Report("closed", map[string]any{"message": err.Error()})
}
