package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Guard keeps web pages of others away from a handler that asks for no password: browsers run pages of strangers, which may send
// requests from the machine or the network of their reader. The Handler of this package has it already.
//
//   - A write that a browser sends for another site's page is refused with 403 (Sec-Fetch-Site, Origin).
//   - A site whose name is made to resolve to this machine (DNS rebinding) is no other site for the browser. So what comes in over
//     the loopback must be asked for by address, or as localhost: else it is refused with 421.
//   - A browser runs nothing of the answers, shows them in no frame, and uses them for no image or script of another site.
//
// Refuse answers what is refused. If it is nil, the reason is answered as text.
func Guard(next http.Handler, refuse func(w http.ResponseWriter, status int, err error)) http.Handler {
	origins := http.NewCrossOriginProtection()
	if refuse == nil {
		refuse = func(w http.ResponseWriter, status int, err error) { http.Error(w, err.Error(), status) }
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		err := origins.Check(r)
		switch {
		case err != nil:
			refuse(w, http.StatusForbidden, fmt.Errorf("a page of another site may not change anything here: %w", err))
		case rebound(r):
			refuse(w, http.StatusMisdirectedRequest, errRebound)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

var errRebound = errors.New("over the loopback this server is called by its address, or localhost")

// rebound tells whether a request came in over the loopback under a name that others may have made up.
func rebound(r *http.Request) bool {
	to, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !to.IP.IsLoopback() {
		return false
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host != "" && host != "localhost" && !strings.HasSuffix(host, ".localhost")
}
