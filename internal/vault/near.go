package vault

import "context"

// Near opens a reader of a stream at a place that is nearer than the store, for one
// chunk and one goroutine.
type Near func() NearReader

// NearReader reads a stream where it is near. Nothing of that is believed: what it
// gave is kept only where its MAC is that of the backup.
type NearReader interface {
	// Read fills dst with what may be the bytes at an offset of the stream, and says
	// whether it has any.
	Read(offset int64, dst []byte) bool
	Close()
}

// ReadChunksNear is ReadChunks that reads from the store only what a nearer place
// does not have: frame by frame, in backups whose frames have MACs. kept is told
// which bytes were not read, concurrently.
func (b *Backup) ReadChunksNear(ctx context.Context, stream string, skip func(index int) bool, near Near, kept func(offset, bytes int64), write func(context.Context, Chunk) error) error {
	return b.readChunks(ctx, stream, skip, func(ctx context.Context, e Extent, offset int64, data []byte) error {
		there, err := b.nearFrames(ctx, e, offset, data, near)
		if err != nil {
			return err
		}
		return b.readMissing(ctx, e, offset, data, there, kept)
	}, write)
}

// nearFrames fills data with the frames that the nearer place has, and says which.
// nil: none.
func (b *Backup) nearFrames(ctx context.Context, e Extent, offset int64, data []byte, near Near) ([]bool, error) {
	o := b.object(e)
	if !o.MACs {
		return nil, nil
	}
	reader := near()
	there, some := make([]bool, e.Frames), false
	for i := range there {
		part := frameOf(o, data, i)
		there[i] = reader.Read(offset+int64(i)*int64(o.FrameSize), part)
		some = some || there[i]
	}
	reader.Close()
	if !some {
		return nil, nil
	}
	macs, err := b.own().macs(ctx, e.Object)
	if err != nil {
		return nil, ctx.Err() // the frames themselves are read, from any store
	}
	key, err := b.v.readKey(ctx, o.KeyID)
	if err != nil {
		return nil, err
	}
	for i := range there {
		there[i] = there[i] && version(o.Version).frameMAC(key, frameOf(o, data, i)) == macs[e.First+i]
	}
	return there, nil
}

// readMissing reads the runs of frames that are not there.
func (b *Backup) readMissing(ctx context.Context, e Extent, offset int64, data []byte, there []bool, kept func(offset, bytes int64)) error {
	if there == nil {
		return b.readExtent(ctx, e, data)
	}
	size := b.object(e).FrameSize
	for i := 0; i < e.Frames; {
		n := i
		for n < e.Frames && there[n] == there[i] {
			n++
		}
		to := min(n*size, len(data))
		part := data[i*size : to : to] // a decoder uses all of its room, and what follows is there already
		if there[i] {
			kept(offset+int64(i*size), int64(len(part)))
		} else if err := b.readExtent(ctx, Extent{Object: e.Object, First: e.First + i, Frames: n - i, Bytes: int64(len(part))}, part); err != nil {
			return err
		}
		i = n
	}
	return nil
}

// frameOf is the i-th frame of an extent's plaintext.
func frameOf(o *Object, data []byte, i int) []byte {
	size := o.FrameSize
	return data[i*size : min((i+1)*size, len(data))]
}
