package torture

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// namespaces is a network of real packets: each server has a network namespace with one device in it, a TUN device
// whose other end is in the hands of the test, and so have the clients. The test carries each packet where it is meant
// to go, late or never as the weather is. It needs root.
type namespaces struct {
	weather *sky
	subnet  string
	names   []string   // of the namespaces
	devices []*os.File // of the servers, then of the clients
	wg      sync.WaitGroup
}

const (
	tunPort    = 4000
	webPort    = 8000
	clientHost = 254 // the last byte of the clients' address; a server's is its id and 1
	mtu        = 9000
)

func newNamespaces(t *testing.T, n int) (*namespaces, error) {
	if err := sweep(); err != nil {
		return nil, err
	}
	pid := os.Getpid()
	w := &namespaces{weather: newSky(), subnet: fmt.Sprintf("198.%d.%d", 18+pid/256%2, pid%256)} // for benchmarks: RFC 2544
	t.Cleanup(w.close)
	for id := range n {
		name, device := fmt.Sprintf("%s%d-%d", prefix, pid, id), fmt.Sprintf("rpt%d-%d", pid, id)
		if err := do("ip", "netns", "add", name); err != nil {
			return nil, err
		}
		w.names = append(w.names, name)
		if err := w.open(device); err != nil {
			return nil, err
		}
		for _, args := range [][]string{
			{"link", "set", device, "netns", name},
			{"-n", name, "addr", "add", w.host(id) + "/24", "dev", device},
			{"-n", name, "link", "set", "lo", "up"},
			{"-n", name, "link", "set", device, "mtu", fmt.Sprint(mtu), "up"},
		} {
			if err := do("ip", args...); err != nil {
				return nil, err
			}
		}
	}
	device := fmt.Sprintf("rpt%d-c", pid)
	if err := w.open(device); err != nil {
		return nil, err
	}
	if err := do("ip", "addr", "add", fmt.Sprintf("%s.%d/24", w.subnet, clientHost), "dev", device); err != nil {
		return nil, err
	}
	if err := do("ip", "link", "set", device, "mtu", fmt.Sprint(mtu), "up"); err != nil {
		return nil, err
	}
	for from := range w.devices {
		w.wg.Go(func() { w.carry(from) })
	}
	return w, nil
}

// do runs a command to its end.
func do(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return nil
}

// open makes a TUN device. It stays in our hands when it is moved into a namespace, and vanishes when it is closed.
func (w *namespaces) open(name string) error {
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	var request struct { // struct ifreq of <net/if.h>
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:syscall.IFNAMSIZ-1], name)
	request.flags = syscall.IFF_TUN | syscall.IFF_NO_PI
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TUNSETIFF, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("TUNSETIFF %s: %w; %v", name, errno, syscall.Close(fd))
	}
	w.devices = append(w.devices, os.NewFile(uintptr(fd), name))
	return nil
}

func (w *namespaces) host(id int) string { return fmt.Sprintf("%s.%d", w.subnet, id+1) }

func (w *namespaces) listen(id int) string { return fmt.Sprintf("%s:%d", w.host(id), tunPort) }
func (w *namespaces) known(id int) string  { return w.listen(id) }
func (w *namespaces) http(id int) string   { return fmt.Sprintf("%s:%d", w.host(id), webPort) }
func (w *namespaces) sky() *sky            { return w.weather }

// command runs in a server's network namespace. NB: "ip netns exec" would make a namespace of mounts too, which would
// keep the other servers' file systems mounted.
func (w *namespaces) command(id int, name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + w.names[id], name}, args...)...)
}

func (w *namespaces) close() {
	for _, f := range w.devices {
		_ = f.Close()
	}
	w.wg.Wait()
	for _, name := range w.names {
		_ = do("ip", "netns", "del", name)
	}
}

// carry takes what one device sends to where it is meant for, until the device is closed.
func (w *namespaces) carry(from int) {
	for {
		packet := make([]byte, mtu)
		n, err := w.devices[from].Read(packet)
		if err != nil {
			return
		}
		packet = packet[:n]
		if n < 20 || packet[0]>>4 != 4 { // IPv4 alone
			continue
		}
		to := int(binary.BigEndian.Uint32(packet[16:])&0xff) - 1
		if to == clientHost-1 {
			to = len(w.devices) - 1
		}
		if to < 0 || to >= len(w.devices) {
			continue
		}
		var here weather
		if clients := len(w.devices) - 1; from != clients && to != clients {
			here, _ = w.weather.get(from, to)
		}
		switch {
		case here.cut, rand.Float64() < here.loss:
		case here.delay > 0:
			time.AfterFunc(here.takes(), func() { w.deliver(to, packet) })
		default:
			w.deliver(to, packet)
		}
	}
}

// deliver hands a packet over. One that is not taken is lost, as on any network.
func (w *namespaces) deliver(to int, packet []byte) { _, _ = w.devices[to].Write(packet) }
