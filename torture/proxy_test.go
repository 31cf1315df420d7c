//go:build unix

package torture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/raftpico/go/internal/ports"
)

// proxies is a network on one machine without root: in front of each server stands a proxy, whose address the others
// know. Who has dialled it, it reads in the handshake: its first line names the address at which the sender listens.
// A cut holds bytes back, as TCP does when packets are lost.
type proxies struct {
	weather *sky
	front   []net.Listener
	behind  []string // where the servers listen,
	web     []string // and for HTTP
	wg      sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	ended bool
}

func newProxies(t *testing.T, n int) (*proxies, error) {
	p := &proxies{weather: newSky(), conns: map[net.Conn]bool{}}
	t.Cleanup(p.close)
	for range n {
		behind, err := ports.Find()
		if err != nil {
			return nil, err
		}
		web, err := ports.Find()
		if err != nil {
			return nil, err
		}
		front, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		p.behind, p.web, p.front = append(p.behind, behind), append(p.web, web), append(p.front, front)
	}
	for id := range n {
		p.wg.Go(func() { p.accept(id) })
	}
	return p, nil
}

func (p *proxies) listen(id int) string { return p.behind[id] }
func (p *proxies) known(id int) string  { return p.front[id].Addr().String() }
func (p *proxies) http(id int) string   { return p.web[id] }
func (p *proxies) sky() *sky            { return p.weather }

func (p *proxies) command(_ int, name string, args ...string) *exec.Cmd {
	return exec.Command(name, args...)
}

func (p *proxies) close() {
	p.mu.Lock()
	p.ended = true
	for conn := range p.conns {
		conn.Close()
	}
	p.mu.Unlock()
	for _, l := range p.front {
		l.Close()
	}
	p.weather.clear()
	p.wg.Wait()
}

// track remembers a connection until it is closed. False means that the proxies have ended.
func (p *proxies) track(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		conn.Close()
		return false
	}
	p.conns[conn] = true
	return true
}

func (p *proxies) drop(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
	conn.Close()
}

func (p *proxies) accept(to int) {
	for {
		conn, err := p.front[to].Accept()
		if err != nil {
			return // closed
		}
		p.wg.Go(func() { p.serve(conn, to) })
	}
}

// serve joins a connection to the server behind until either end closes it.
func (p *proxies) serve(conn net.Conn, to int) {
	if !p.track(conn) {
		return
	}
	defer p.drop(conn)
	in := bufio.NewReaderSize(conn, 64<<10)
	first, err := in.ReadSlice('\n')
	if err != nil {
		return
	}
	from := p.sender(first)
	first = append([]byte(nil), first...)
	if !p.await(from, to) {
		return
	}
	behind, err := net.Dial("tcp", p.behind[to])
	if err != nil || !p.track(behind) {
		return
	}
	defer p.drop(behind)
	var wg sync.WaitGroup
	wg.Go(func() {
		p.carry(behind, io.MultiReader(bytes.NewReader(first), in), from, to)
		behind.Close()
	})
	p.carry(conn, behind, to, from)
	conn.Close()
	wg.Wait()
}

// sender tells who says Hello, -1 for somebody who only asks who is there.
func (p *proxies) sender(line []byte) int {
	var hello struct {
		Params struct{ From struct{ Addr string } }
	}
	if err := json.Unmarshal(line, &hello); err != nil {
		return -1
	}
	for id, addr := range p.behind {
		if addr == hello.Params.From.Addr {
			return id
		}
	}
	return -1
}

// piece is what was read at once. Nil is the end.
type piece struct {
	bytes []byte
	due   time.Time
}

// carry copies what one side sends to the other, through the weather. It ends when either side does.
func (p *proxies) carry(dst io.Writer, src io.Reader, from, to int) {
	pieces := make(chan piece, 1024)
	stop := make(chan struct{})
	p.wg.Go(func() { // ends when src does, or when carry has
		defer close(pieces)
		for {
			buf := make([]byte, 16<<10)
			n, err := src.Read(buf)
			if n > 0 {
				select {
				case pieces <- piece{buf[:n], time.Now().Add(p.at(from, to).takes())}:
				case <-stop:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	defer close(stop)
	for piece := range pieces {
		time.Sleep(time.Until(piece.due)) // this is what a slow link is
		if !p.await(from, to) {
			return
		}
		if _, err := dst.Write(piece.bytes); err != nil {
			return
		}
	}
	p.await(from, to) // a connection's end does not get through a cut either
}

func (p *proxies) at(from, to int) weather {
	if from < 0 || to < 0 {
		return weather{}
	}
	w, _ := p.weather.get(from, to)
	return w
}

// await waits until something can pass. False means that the proxies have ended.
func (p *proxies) await(from, to int) bool {
	for {
		p.mu.Lock()
		ended := p.ended
		p.mu.Unlock()
		if ended || from < 0 || to < 0 {
			return !ended
		}
		w, change := p.weather.get(from, to)
		if !w.cut {
			return true
		}
		<-change // NB: close clears the sky after it has set ended
	}
}
