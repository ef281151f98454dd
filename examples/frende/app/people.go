package main

import (
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
)

type identity struct {
	ID int64 `json:"id"`
}

type user struct {
	ID    int64  `json:"id,omitempty"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

func (b *backend) createUser(r *http.Request) (any, error) {
	input, err := decode[user](r)
	if err != nil {
		return nil, err
	}
	if input.Name == "" || input.Email == "" {
		return nil, failure{http.StatusBadRequest, "a user has a name and an email"}
	}
	var made identity
	err = b.db.QueryRow(r.Context(), "insert into users (name, email) values ($1, $2) returning id", input.Name, input.Email).Scan(&made.ID)
	return made, err
}

func (b *backend) readUser(r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	found := user{ID: id}
	err = b.db.QueryRow(r.Context(), "select name, email from users where id = $1", id).Scan(&found.Name, &found.Email)
	return found, err
}

type match struct {
	First  int64 `json:"first"`
	Second int64 `json:"second"`
}

func (b *backend) createMatch(r *http.Request) (any, error) {
	input, err := decode[match](r)
	if err != nil {
		return nil, err
	}
	var made identity
	err = b.db.QueryRow(r.Context(), "insert into matches (first_id, second_id) values ($1, $2) returning id", input.First, input.Second).Scan(&made.ID)
	return made, err
}

type message struct {
	ID     int64     `json:"id,omitempty"`
	Author int64     `json:"author"`
	Key    string    `json:"key"` // the sender's own; the same key is the same message
	Body   string    `json:"body"`
	SentAt time.Time `json:"sent_at,omitzero"`
}

// createMessage keeps a message once, however often it is sent.
func (b *backend) createMessage(r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	input, err := decode[message](r)
	if err != nil {
		return nil, err
	}
	if input.Key == "" {
		return nil, failure{http.StatusBadRequest, "a message has a key"}
	}
	var made identity
	err = b.db.QueryRow(r.Context(), `
		with made as (insert into messages (match_id, author_id, key, body) values ($1, $2, $3, $4) on conflict (key) do nothing returning id)
		select id from made union all select id from messages where key = $3 limit 1`,
		id, input.Author, input.Key, input.Body).Scan(&made.ID)
	return made, err
}

// readMessages gives a page of a match's messages, in the order they were
// kept, after the message with the id in the query "after".
func (b *backend) readMessages(r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	after := r.URL.Query().Get("after")
	if after == "" {
		after = "0"
	}
	rows, err := b.db.Query(r.Context(), "select id, author_id, key, body, sent_at from messages where match_id = $1 and id > $2::text::bigint order by id limit $3",
		id, after, pageOfMessages)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[message])
}
