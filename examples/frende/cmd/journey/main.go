// Command journey walks through Frende as somebody who joins it does, over HTTP:
//
//	journey --app http://HOST:PORT
//
// It signs up, logs in, puts a photo up, meets another person, writes a message,
// and reads all of it back. It exits 0 when everything was as it should be, and 1
// with the first thing that was not. A drill asks it whether the application works
// on what was recovered.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// patience bounds the whole way.
const patience = 30 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	app := flag.String("app", "", "address of the front end: http://host:port")
	flag.Parse()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := (visitor{app: strings.TrimSuffix(*app, "/")}).walk(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "journey: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("signed up, logged in, photo kept, message read")
}

type visitor struct{ app string }

type identity struct{ ID int64 }

func (v visitor) walk(ctx context.Context) error {
	name := "visitor-" + strings.ToLower(rand.Text()[:12])
	var me, other identity
	for _, person := range []struct {
		name string
		made *identity
	}{{name, &me}, {name + "-friend", &other}} {
		if err := v.post(ctx, "/users", map[string]string{"name": person.name, "email": person.name + "@example.com"}, person.made); err != nil {
			return err
		}
	}
	var session struct{ Token string }
	if err := v.post(ctx, "/sessions", map[string]string{"email": name + "@example.com", "device": "rehearsal"}, &session); err != nil {
		return err
	}
	if _, err := v.ask(ctx, http.MethodGet, "/sessions/"+session.Token, nil, http.StatusOK); err != nil {
		return err
	}
	photo := []byte("\xff\xd8\xff a photo of " + name)
	path := fmt.Sprintf("/users/%d/photos/me.jpg", me.ID)
	if _, err := v.ask(ctx, http.MethodPut, path, photo, http.StatusCreated); err != nil {
		return err
	}
	if kept, err := v.ask(ctx, http.MethodGet, path, nil, http.StatusOK); err != nil || !bytes.Equal(kept, photo) {
		return errors.Join(err, fmt.Errorf("GET %s: %d bytes came back, which are not the photo's", path, len(kept)))
	}
	var match identity
	if err := v.post(ctx, "/matches", map[string]int64{"first": me.ID, "second": other.ID}, &match); err != nil {
		return err
	}
	path = fmt.Sprintf("/matches/%d/messages", match.ID)
	if err := v.post(ctx, path, map[string]any{"author": me.ID, "key": name, "body": "hello, " + name}, nil); err != nil {
		return err
	}
	if said, err := v.ask(ctx, http.MethodGet, path, nil, http.StatusOK); err != nil || !bytes.Contains(said, []byte("hello, "+name)) {
		return errors.Join(err, fmt.Errorf("GET %s: the message is not among %d bytes", path, len(said)))
	}
	page, err := v.ask(ctx, http.MethodGet, "/", nil, http.StatusOK)
	if err != nil || !bytes.Contains(page, []byte("People")) {
		return errors.Join(err, errors.New("GET /: it is not Frende's page"))
	}
	return nil
}

func (v visitor) post(ctx context.Context, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	answer, err := v.ask(ctx, http.MethodPost, path, raw, http.StatusCreated)
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

func (v visitor) ask(ctx context.Context, method, path string, body []byte, want int) (answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, v.app+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if answer, err = io.ReadAll(response.Body); err != nil {
		return nil, err
	}
	if response.StatusCode != want {
		return nil, fmt.Errorf("%s %s: %s", method, path, response.Status)
	}
	return answer, nil
}
