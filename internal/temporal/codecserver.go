package temporal

import (
	"crypto/subtle"
	"net"
	"net/http"
	"slices"
	"strings"

	"go.temporal.io/sdk/converter"
)

// maxCodecRequest bounds a request: a page of a history of payloads of 2 MB at most.
const maxCodecRequest = 64 << 20

// CodecConfig says who may use a codec endpoint.
type CodecConfig struct {
	Payloads *Payloads
	Origins  []string // of Web UIs whose pages may ask: "http://127.0.0.1:8233"
	Token    string   // that every request must bring as "Authorization: Bearer …"; "": none
	Hosts    []string // names this endpoint is called by; a page that a browser was led to by another is refused. Empty: any
}

// CodecHandler seals and opens payloads for Temporal's Web UI and command: POST
// /encode and /decode, as their codec endpoint wants it.
func CodecHandler(c CodecConfig) http.Handler {
	return &codecHandler{config: c, next: converter.NewPayloadCodecHTTPHandler(c.Payloads.Codec())}
}

type codecHandler struct {
	config CodecConfig
	next   http.Handler
}

func (h *codecHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.called(r.Host) {
		http.Error(w, "this endpoint has another name", http.StatusMisdirectedRequest)
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if !slices.Contains(h.config.Origins, origin) {
			http.Error(w, "pages of "+origin+" may not ask: see --origin of lifeboat codec serve", http.StatusForbidden)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Add("Vary", "Origin")
	}
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", "POST, OPTIONS")
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Authorization-Extras, Content-Type, X-Namespace")
		if r.Header.Get("Access-Control-Request-Private-Network") == "true" { // a page of Temporal Cloud asks this host
			w.Header().Set("Access-Control-Allow-Private-Network", "true")
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if !h.allowed(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "a token is needed: Authorization: Bearer TOKEN", http.StatusUnauthorized)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxCodecRequest)
	h.next.ServeHTTP(w, r)
}

// called says whether a request names this endpoint by a name of its own. A page
// whose own name was pointed at this host would look like one of the same origin.
func (h *codecHandler) called(host string) bool {
	if len(h.config.Hosts) == 0 {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return slices.Contains(h.config.Hosts, strings.Trim(host, "[]"))
}

func (h *codecHandler) allowed(r *http.Request) bool {
	if h.config.Token == "" {
		return true
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && subtle.ConstantTimeCompare([]byte(given), []byte(h.config.Token)) == 1
}
