package serve

import (
	"net/http"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/raftpico"
)

// Health answers GET /health by 200 until the server has ended, and GET /ready by 200 while the server is ready (see
// [raftpico.Status]). Otherwise both answer 503, and a JSON object whose "reason" tells why. They ask nothing of the server,
// so they answer at once while its disk hangs.
func Health(s *raftpico.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		now := s.Status()
		answer(w, !now.Ended, map[string]any{"healthy": !now.Ended}, "the server has ended")
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		now := s.Status()
		ready := now.Ready && !now.Ended && !now.Removed
		answer(w, ready, map[string]any{"ready": ready, "role": now.Role, "leader": now.Leader}, unready(now))
	})
	return mux
}

// unready tells why a server is not ready.
func unready(now raftpico.Status) string {
	switch {
	case now.Ended:
		return "the server has ended"
	case now.Removed:
		return "the server was removed from its cluster"
	case now.NodeID == 0:
		return "the server belongs to no cluster"
	case now.Leader == "":
		return "no leader is known"
	}
	return "the server has not caught up with its leader"
}

func answer(w http.ResponseWriter, well bool, fields map[string]any, reason string) {
	status := http.StatusOK
	if !well {
		status, fields["reason"] = http.StatusServiceUnavailable, reason
	}
	body, _ := json.Marshal(fields) // of texts and booleans
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
