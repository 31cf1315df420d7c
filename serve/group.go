package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/raftpico/go/raftpico"
)

// group is the servers of this process, and HTTP beside them. Its goroutines: one for each server and each HTTP server, which
// ends with it.
type group struct {
	service *Service
	ctx     context.Context // ends when something has
	cancel  context.CancelFunc
	servers []*raftpico.Server
	beside  []*http.Server
	room    *room // of the HTTP connections
	wg      sync.WaitGroup

	mu  sync.Mutex // guards err
	err error      // what has failed first, beside the servers
}

func newGroup(ctx context.Context, s *Service) *group {
	g := &group{service: s, room: newRoom(maxFiles())}
	g.ctx, g.cancel = context.WithCancel(ctx)
	return g
}

// fail ends the group.
func (g *group) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	g.cancel()
}

// start starts a server, and HTTP beside it if there is an address for it.
func (g *group) start(o raftpico.Options, web string, console ConsoleConfig) (*raftpico.Server, error) {
	var listener net.Listener
	if web != "" {
		var err error
		if listener, err = net.Listen("tcp", local(web)); err != nil {
			return nil, fmt.Errorf("HTTP: %w", err)
		}
	}
	s, err := raftpico.Start(g.service.New(), o)
	if err != nil {
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
		return nil, err
	}
	g.servers = append(g.servers, s)
	g.wg.Go(func() {
		_ = s.Wait() // close returns it again
		g.cancel()
	})
	if listener != nil {
		listener = newBounded(listener, g.room, answerPatience)
		if g.service.HTTPListener != nil {
			listener = g.service.HTTPListener(s, listener)
		}
		g.http(listener, g.service.handler(s, console), o.Logger)
	}
	return s, nil
}

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10        // bytes
	httpPatience  = 5 * time.Second // for requests under way when the program ends
)

// http serves until the group closes. NB: It has no ReadTimeout and no WriteTimeout, since they would also end requests that wait: see bounds.go.
func (g *group) http(listener net.Listener, handler http.Handler, logger *slog.Logger) {
	if logger == nil {
		logger = slog.Default()
	}
	h := &http.Server{Handler: boundBodies(handler, bodyPatience), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn)}
	furnish(h)
	g.beside = append(g.beside, h)
	g.wg.Go(func() {
		if err := h.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			g.fail(fmt.Errorf("HTTP: %w", err))
		}
	})
}

// close ends everything at once: one server after the other would each wait for a quorum that is going, and requests over HTTP for
// servers that still serve.
func (g *group) close() error {
	g.cancel()
	errs := make([]error, len(g.servers))
	var wg sync.WaitGroup
	for i, s := range g.servers {
		wg.Go(func() { errs[i] = s.Close() })
	}
	for _, h := range g.beside {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), httpPatience)
			defer cancel()
			if h.Shutdown(ctx) != nil {
				_ = h.Close() // who still waits is cut off
			}
		})
	}
	wg.Wait()
	g.wg.Wait()
	return errors.Join(append(errs, g.err)...)
}

// one starts the server of a command line.
func (g *group) one(c *Config) error {
	if c.File == "" {
		slog.Warn("no storage file: this server is volatile; what it knows is gone when it stops, and it can't come back")
	}
	o := c.options()
	if err := c.TLS.secure(&o, c.HTTP); err != nil {
		return err
	}
	if g.service.Options != nil {
		g.service.Options(&o)
	}
	_, err := g.start(o, c.HTTP, ConsoleConfig{Manage: c.Manage})
	return err
}
