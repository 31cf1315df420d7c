package main

import (
	"net/http"

	pages "github.com/raftpico/go/raftpico/web"
)

// guard keeps web pages of others out. The API asks for no password, and browsers run pages that may send requests to it.
func guard(next http.Handler) http.Handler {
	return pages.Guard(next, func(w http.ResponseWriter, status int, err error) {
		writeJSON(w, status, &failure{Error: err.Error()})
	})
}
