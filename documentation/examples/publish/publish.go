// Publishes one event: go run publish.go TOPIC DATA
package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

func publish(topic, data, event string) (string, error) {
	base := os.Getenv("REVENPROX_URL")
	if base == "" {
		base = "http://localhost:8080"
	}
	address := fmt.Sprintf("%s/events/%s?event=%s", base, url.PathEscape(topic), url.QueryEscape(event))
	request, err := http.NewRequest(http.MethodPost, address, strings.NewReader(data))
	if err != nil {
		return "", err
	}
	// With the same key a second attempt is not a second event.
	key := os.Getenv("IDEMPOTENCY_KEY")
	if key == "" {
		key = rand.Text()
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("REVENPROX_TOKEN"))
	request.Header.Set("Idempotency-Key", key)
	client := http.Client{Timeout: 10 * time.Second}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusAccepted {
		return "", fmt.Errorf("%s: %s", answer.Status, body)
	}
	var accepted struct{ ID string }
	err = json.Unmarshal(body, &accepted)
	return accepted.ID, err
}

func main() {
	id, err := publish(os.Args[1], os.Args[2], "order")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(id)
}
