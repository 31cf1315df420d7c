package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
)

//go:embed page/index.html
var console []byte

// Page serves an HTML page that has all its script and style in itself, in one element each. A browser lets it run those, ask its
// own server, and nothing else. Page panics if html has no such elements.
func Page(html []byte) http.Handler {
	policy := fmt.Sprintf("default-src 'none'; script-src %s; style-src %s; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		hashOf(html, "script"), hashOf(html, "style"))
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(html) // a client that has gone reads nothing
	})
}

// hashOf names what is in the page's one element of a name, as a Content-Security-Policy does.
func hashOf(html []byte, element string) string {
	_, rest, found := bytes.Cut(html, []byte("<"+element+">"))
	content, _, closed := bytes.Cut(rest, []byte("</"+element+">"))
	if !found || !closed {
		panic("web: the page has no " + element)
	}
	sum := sha256.Sum256(content)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
