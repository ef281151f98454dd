package main

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"time"
)

type session struct {
	User   int64     `json:"user"`
	Device string    `json:"device"`
	Since  time.Time `json:"since"`
}

func sessionKey(token string) string { return "session:" + token }

// logIn opens a session for whoever knows an e-mail address: Frende is an
// example of what to recover, not of how to sign in.
func (b *backend) logIn(r *http.Request) (any, error) {
	input, err := decode[struct {
		Email  string `json:"email"`
		Device string `json:"device"`
	}](r)
	if err != nil {
		return nil, err
	}
	made := session{Device: input.Device, Since: time.Now().UTC()}
	if err := b.db.QueryRow(r.Context(), "select id from users where email = $1", input.Email).Scan(&made.User); err != nil {
		return nil, err
	}
	value, err := json.Marshal(made)
	if err != nil {
		return nil, err
	}
	token := rand.Text()
	if err := b.redis.Set(r.Context(), sessionKey(token), value, sessionLife).Err(); err != nil {
		return nil, err
	}
	return map[string]string{"token": token}, nil
}

func (b *backend) readSession(r *http.Request) (any, error) {
	value, err := b.redis.Get(r.Context(), sessionKey(r.PathValue("token"))).Bytes()
	if err != nil {
		return nil, err
	}
	var found session
	if err := json.Unmarshal(value, &found); err != nil {
		return nil, failure{http.StatusInternalServerError, "the session can't be read"}
	}
	return found, nil
}
