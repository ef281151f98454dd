package lab

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"

	"github.com/frende/lifeboat/internal/fault"
)

// Ports are taken below Linux's range for outgoing connections (32768 and up),
// so that a server which was killed gets its port back.
const (
	firstPort = 15000
	lastPort  = 32000
)

// FreePort gives a loopback port that nothing listens on now.
func FreePort() (int, error) {
	var last error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", loopback(port))
		if err != nil {
			last = err
			continue
		}
		if err := listener.Close(); err != nil {
			return 0, fault.New(fault.PathFailed, "find a free port", "127.0.0.1", err)
		}
		return port, nil
	}
	return 0, fault.New(fault.PathFailed, "find a free port", "127.0.0.1", last)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// FreePorts gives the first of a row of loopback ports that nothing listens on now.
func FreePorts(count int) (int, error) {
	var last error
	for range 100 {
		first, err := FreePort()
		if err != nil {
			return 0, err
		}
		last = nil
		for port := first + 1; port < first+count && last == nil; port++ {
			listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", loopback(port))
			if err != nil {
				last = err
				continue
			}
			last = listener.Close()
		}
		if last == nil {
			return first, nil
		}
	}
	return 0, fault.New(fault.PathFailed, "find free ports", "127.0.0.1", last)
}
