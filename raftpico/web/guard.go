package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Refusal tells whether a request comes from a web page that has no business here, and why; nil if not. It is for handlers that
// ask for no password: browsers run pages of strangers, which may send requests from the machine or the network of their reader.
//
//   - A write that a browser sends for another site's page is refused with 403 (Sec-Fetch-Site, Origin).
//   - A site whose name is made to resolve to this machine (DNS rebinding) is no other site for the browser. So what comes in over
//     the loopback must be asked for by address, or as localhost: else it is refused with 421.
func Refusal(r *http.Request) (status int, err error) {
	if err := origins.Check(r); err != nil {
		return http.StatusForbidden, fmt.Errorf("a page of another site may not change anything here: %w", err)
	}
	if rebound(r) {
		return http.StatusMisdirectedRequest, errors.New("over the loopback this server is called by its address, or localhost")
	}
	return 0, nil
}

var origins = http.NewCrossOriginProtection()

// guard refuses what Refusal does. What it lets through is answered with headers that let a browser run nothing of it, show it in
// no frame, and use it for no image or script of another site.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if status, err := Refusal(r); err != nil {
			http.Error(w, err.Error(), status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

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
