create table users (
    id         bigint generated always as identity primary key,
    name       text not null,
    email      text not null unique,
    created_at timestamptz not null default now()
);

create table matches (
    id         bigint generated always as identity primary key,
    first_id   bigint not null references users (id),
    second_id  bigint not null references users (id),
    created_at timestamptz not null default now(),
    check (first_id <> second_id)
);
