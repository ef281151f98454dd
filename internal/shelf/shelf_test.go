package shelf_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/shelf"
)

func TestABufferComesBackWhateverIsCollected(t *testing.T) {
	var s shelf.Shelf
	small, large := make([]byte, 10), make([]byte, 20)
	small[0] = 7
	s.Put(small[:3])
	s.Put(large)
	runtime.GC()
	runtime.GC()
	require.Equal(t, int64(30), s.Bytes())
	require.Nil(t, s.Take(15))
	got := s.Take(10)
	require.Len(t, got, 10, "its length is what was asked for, whatever it was when it was put")
	require.Equal(t, byte(7), got[0], "it is the same memory")
	require.Nil(t, s.Take(10), "each is given once")
	require.Equal(t, int64(20), s.Bytes())
}

func TestWhatLiesLongestGoesFirst(t *testing.T) {
	var s shelf.Shelf
	for size := 1; size <= 4; size++ {
		s.Put(make([]byte, size))
	}
	s.Shrink(7)
	require.Equal(t, int64(7), s.Bytes())
	require.Nil(t, s.Take(1))
	require.NotNil(t, s.Take(4))
	s.Shrink(0)
	require.Zero(t, s.Bytes())
}

func TestNothingIsKeptThatIsNotUsedForFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shelf.Shelf
		s.Put(make([]byte, 1))
		time.Sleep(3 * time.Second)
		s.Put(make([]byte, 2))
		time.Sleep(1900 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, int64(3), s.Bytes())
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, int64(2), s.Bytes())
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Zero(t, s.Bytes())
		s.Put(make([]byte, 4))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Zero(t, s.Bytes(), "it goes on after it was empty")
	})
}
