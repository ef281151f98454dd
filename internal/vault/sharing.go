package vault

// leastShared is the shortest run of frames that is shared rather than stored
// again: each run is a request of its own when the backup is read.
const leastShared = 4

// compare finds which frames of a chunk an earlier backup holds, and gives all of
// it in order: runs that are shared, and runs of what is new.
func (s *StreamWriter) compare(c *chunkBuffer, plain []byte) []piece {
	frame := s.w.frame
	var pieces []piece
	for at := 0; at < len(plain); at += frame {
		content := plain[at:min(at+frame, len(plain))]
		p := piece{extent: Extent{Frames: 1, Bytes: int64(len(content))}}
		if c.like != "" {
			found, ok := s.w.donor.frameAt(c.like, c.from+int64(at), len(content))
			if ok && s.w.donor.holds(s.w.ctx, found, content) {
				p = piece{extent: found, shared: true}
			}
		}
		pieces = join(pieces, p)
	}
	var kept []piece
	for _, p := range pieces {
		if p.shared && p.extent.Frames < leastShared && p.extent.Bytes < int64(len(plain)) {
			p = piece{extent: Extent{Frames: p.extent.Frames, Bytes: p.extent.Bytes}}
		}
		kept = join(kept, p)
	}
	first := 0
	for i := range kept {
		if !kept[i].shared {
			kept[i].extent.First = first
			first += kept[i].extent.Frames
		}
	}
	return kept
}

// join appends a piece, as part of the last one when it goes on there.
func join(pieces []piece, p piece) []piece {
	if n := len(pieces); n > 0 {
		last := &pieces[n-1]
		goesOn := last.extent.Object == p.extent.Object && last.extent.First+last.extent.Frames == p.extent.First
		if last.shared == p.shared && (!p.shared || goesOn) {
			last.extent.Frames += p.extent.Frames
			last.extent.Bytes += p.extent.Bytes
			return pieces
		}
	}
	return append(pieces, p)
}

// pack moves what is new to the front of a chunk's plaintext, in its order, and
// gives how many bytes that is. A frame shorter than the others is the last of the
// chunk, and stays the last.
func pack(plain []byte, pieces []piece) int {
	at, own := 0, 0
	for _, p := range pieces {
		bytes := int(p.extent.Bytes)
		if !p.shared {
			copy(plain[own:], plain[at:at+bytes])
			own += bytes
		}
		at += bytes
	}
	return own
}
