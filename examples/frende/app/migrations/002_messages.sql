-- key is chosen by the sender, so that a message sent twice is kept once.
create table messages (
    id        bigint generated always as identity primary key,
    match_id  bigint not null references matches (id),
    author_id bigint not null references users (id),
    key       text not null unique,
    body      text not null,
    sent_at   timestamptz not null default now()
);
