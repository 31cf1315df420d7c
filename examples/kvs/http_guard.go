package main

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard keeps web pages of others out. The API asks for no password, and browsers run pages that may send requests to it from the machine
// or the network of their reader.
//
//   - A write that a browser sends for another site's page is refused (Sec-Fetch-Site, Origin).
//   - A site whose name is made to resolve to this machine (DNS rebinding) is no other site for the browser. So what comes in
//     over the loopback must be asked for by address, or as localhost.
//   - Answers run nothing, are shown in no frame, and are no images or scripts of other sites.
func guard(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
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
			writeJSON(w, http.StatusForbidden, &failure{Error: "a page of another site may not change anything here: " + err.Error()})
		case rebound(r):
			writeJSON(w, http.StatusMisdirectedRequest, &failure{Error: "over the loopback this server is called by its address, or localhost"})
		default:
			next.ServeHTTP(w, r)
		}
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
