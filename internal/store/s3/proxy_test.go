package s3_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxy stands before an S3 server and does to its queued requests what
// networks and servers do on bad days.
type proxy struct {
	*httptest.Server
	pass http.Handler

	mu       sync.Mutex
	queue    []struck
	requests int
}

// struck is what happens to the next request of a method.
type struck struct {
	method string
	do     func(p *proxy, w http.ResponseWriter, r *http.Request)
}

func newProxy(t *testing.T, endpoint string) *proxy {
	t.Helper()
	target, err := url.Parse(endpoint)
	require.NoError(t, err)
	p := &proxy{pass: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
		require.Empty(t, p.queue, "queued faults that were never hit")
	})
	return p
}

func (p *proxy) strike(method string, faults ...func(*proxy, http.ResponseWriter, *http.Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, do := range faults {
		p.queue = append(p.queue, struck{method, do})
	}
}

// count is how many requests have come.
func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

// left is how many queued faults have not struck.
func (p *proxy) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

// forget drops what is left of the queue.
func (p *proxy) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = nil
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests++
	do := func(p *proxy, w http.ResponseWriter, r *http.Request) { p.pass.ServeHTTP(w, r) }
	if len(p.queue) > 0 && p.queue[0].method == r.Method {
		do, p.queue = p.queue[0].do, p.queue[1:]
	}
	p.mu.Unlock()
	do(p, w, r)
}

// answer gives an S3 error, before anything was done.
func answer(status int, code string) func(*proxy, http.ResponseWriter, *http.Request) {
	return func(_ *proxy, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>as queued</Message></Error>", code)
	}
}

// page gives an answer that no S3 server gave.
func page(status int) func(*proxy, http.ResponseWriter, *http.Request) {
	return func(_ *proxy, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte("<html>please try later</html>"))
	}
}

// reset breaks the connection before anything was done.
func reset(_ *proxy, w http.ResponseWriter, _ *http.Request) { abort(w) }

// lostAck has the request carried out, and breaks the connection instead of answering.
func lostAck(p *proxy, w http.ResponseWriter, r *http.Request) {
	p.pass.ServeHTTP(httptest.NewRecorder(), r)
	abort(w)
}

// hang takes the request and never answers.
func hang(_ *proxy, _ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client leaves
	<-r.Context().Done()
}

// cutAt breaks the connection after n bytes of the body.
func cutAt(n int) func(*proxy, http.ResponseWriter, *http.Request) {
	return func(p *proxy, w http.ResponseWriter, r *http.Request) {
		p.begin(w, r, n)
		abort(w)
	}
}

// silence stops after n bytes and keeps the connection open.
func silence(n int) func(*proxy, http.ResponseWriter, *http.Request) {
	return func(p *proxy, w http.ResponseWriter, r *http.Request) {
		p.begin(w, r, n)
		<-r.Context().Done()
	}
}

// late carries the request out after some milliseconds.
func late(milliseconds int) func(*proxy, http.ResponseWriter, *http.Request) {
	return func(p *proxy, w http.ResponseWriter, r *http.Request) {
		<-time.After(time.Duration(milliseconds) * time.Millisecond)
		p.pass.ServeHTTP(w, r)
	}
}

// drip sends the body in pieces of n bytes, with a pause behind each.
func drip(n int) func(*proxy, http.ResponseWriter, *http.Request) {
	return func(p *proxy, w http.ResponseWriter, r *http.Request) {
		answered := p.answer(w, r)
		w.WriteHeader(answered.Code)
		for body := answered.Body.Bytes(); len(body) > 0; body = body[min(n, len(body)):] {
			_, _ = w.Write(body[:min(n, len(body))])
			_ = http.NewResponseController(w).Flush()
			<-time.After(5 * time.Millisecond)
		}
	}
}

// shorten ends the body cleanly after n bytes, in an answer whose own length agrees.
func shorten(n int) func(*proxy, http.ResponseWriter, *http.Request) {
	return func(p *proxy, w http.ResponseWriter, r *http.Request) {
		answered := p.answer(w, r)
		body := answered.Body.Bytes()
		body = body[:min(n, len(body))]
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(answered.Code)
		_, _ = w.Write(body)
	}
}

// begin sends the head of the answer and the first n bytes of its body.
func (p *proxy) begin(w http.ResponseWriter, r *http.Request, n int) {
	answered := p.answer(w, r)
	w.WriteHeader(answered.Code)
	body := answered.Body.Bytes()
	_, _ = w.Write(body[:min(n, len(body))])
	_ = http.NewResponseController(w).Flush()
}

// answer is the real answer; its headers are in w already.
func (p *proxy) answer(w http.ResponseWriter, r *http.Request) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	p.pass.ServeHTTP(recorder, r)
	maps.Copy(w.Header(), recorder.Header())
	return recorder
}

func abort(http.ResponseWriter) { panic(http.ErrAbortHandler) }
