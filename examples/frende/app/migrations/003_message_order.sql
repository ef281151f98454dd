create index messages_of_match on messages (match_id, id);
