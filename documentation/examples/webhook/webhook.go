// A webhook that decides about tokens, with nothing but Go's standard library.
//
// PORT=9000 TOKEN_SECRET=... HOOK_SECRET=... go run webhook.go
package main

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const longestBody = 64 * 1024

var (
	tokenSecret = []byte(os.Getenv("TOKEN_SECRET")) // signs the users' tokens (HS256)
	hookSecret  = []byte(os.Getenv("HOOK_SECRET"))  // jwt_verifier.hmac_secret of the proxy
)

type claims struct {
	Subject string  `json:"sub"`
	Role    string  `json:"role"`
	Expires float64 `json:"exp"`
}

type verdict struct {
	Valid     bool     `json:"valid"`
	Reason    string   `json:"reason,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	Expires   int64    `json:"exp,omitempty"`
	Subscribe []string `json:"subscribe,omitempty"`
	Publish   []string `json:"publish"`
}

func mac(secret []byte, parts ...[]byte) []byte {
	hash := hmac.New(sha256.New, secret)
	for _, part := range parts {
		hash.Write(part)
	}
	return hash.Sum(nil)
}

// isFromTheProxy tells whether the call is signed with our secret, and lately: a recorded call is of no use after a minute.
func isFromTheProxy(headers http.Header, body []byte) bool {
	timestamp := headers.Get("X-RevenProx-Timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute {
		return false
	}
	expected := "v1=" + hex.EncodeToString(mac(hookSecret, []byte(timestamp+"."), body))
	return hmac.Equal([]byte(expected), []byte(headers.Get("X-RevenProx-Signature")))
}

func decodeJSON(part string, into any) error {
	data, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// claimsOf gives the claims of a token of ours that is still valid.
func claimsOf(token string) (claims, error) {
	var found claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return found, errors.New("this is not a token")
	}
	var head struct{ Alg string }
	if err := decodeJSON(parts[0], &head); err != nil || head.Alg != "HS256" {
		return found, errors.New("this token is not signed with HS256")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(signature, mac(tokenSecret, []byte(parts[0]+"."+parts[1]))) {
		return found, errors.New("the signature is wrong")
	}
	if err := decodeJSON(parts[1], &found); err != nil {
		return found, err
	}
	if found.Expires <= float64(time.Now().Unix()) {
		return found, errors.New("the token has expired")
	}
	return found, nil
}

// decide gives the verdict about a token: whether it is good, whose it is, and what may be done with it.
func decide(token string) verdict {
	found, err := claimsOf(token)
	if err != nil {
		return verdict{Reason: err.Error()}
	}
	answer := verdict{
		Valid: true, Subject: found.Subject, Expires: int64(found.Expires),
		Subscribe: []string{"user-" + found.Subject + "-*", "news"}, Publish: []string{},
	}
	if found.Role == "backend" {
		answer.Publish = []string{"user-*", "news"}
	}
	return answer
}

func handle(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, longestBody))
	var question struct{ JWT string }
	response.Header().Set("Content-Type", "application/json")
	answer := func(status int, content verdict) {
		response.WriteHeader(status)
		if err := json.NewEncoder(response).Encode(content); err != nil {
			log.Print(err)
		}
	}
	switch {
	case err != nil || !isFromTheProxy(request.Header, body):
		answer(http.StatusUnauthorized, verdict{Reason: "the call is not signed"})
	case json.Unmarshal(body, &question) != nil:
		answer(http.StatusBadRequest, verdict{Reason: "the body is not JSON"})
	default:
		answer(http.StatusOK, decide(question.JWT))
	}
}

func main() {
	if len(tokenSecret) == 0 || len(hookSecret) == 0 {
		log.Fatal("TOKEN_SECRET and HOOK_SECRET are needed")
	}
	server := http.Server{
		Addr:              "127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "9000"),
		Handler:           http.HandlerFunc(handle),
		ReadHeaderTimeout: 5 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}
