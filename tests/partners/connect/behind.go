// Command behind is a server that connectconformance can test: a Ringway with another such server behind it.
//
//	behind RINGWAY SERVER [ARGUMENTS...]
//
// Ringway may be asked in any protocol: the server behind is asked for gRPC over HTTP/2, which is all that Ringway speaks
// to services. BEHIND_CONFIG in the environment is appended to the gateway's configuration. Messages on standard input and output are protobuf, with their length before them in four bytes.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// Fields of ServerCompatRequest and ServerCompatResponse, and values of their enums.
const (
	requestProtocol    = 1
	requestHTTPVersion = 2
	requestUseTLS      = 4
	requestClientCert  = 5
	requestReadLimit   = 6
	requestCreds       = 7
	credsCert          = 1
	credsKey           = 2
	responseHost       = 1
	responsePort       = 2
	responseCert       = 3

	protocolGRPC = 2
	http2        = 2
)

const host = "127.0.0.1"

// The connections to the service have no limits that the suite knows, and no call is given a deadline of the gateway's own.
const config = `workers = 1
[admin]
address = "127.0.0.1:0"
[[listeners]]
address = "127.0.0.1:0"
%s[[routes]]
cluster = "conformance"
timeout = "0s"
[[clusters]]
name = "conformance"
endpoints = ["127.0.0.1:%d"]
`

// fields are those of a message: numbers, and bytes.
type fields struct {
	numbers map[uint64]uint64
	bytes   map[uint64][]byte
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("behind: ")
	if len(os.Args) < 3 {
		log.Fatal("usage: behind RINGWAY SERVER [ARGUMENTS...]")
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func run(ringway string, command []string) error {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	asked, err := read(os.Stdin)
	if err != nil {
		return fmt.Errorf("the runner's request: %w", err)
	}
	server := exec.Command(command[0], command[1:]...)
	server.Stderr = os.Stderr
	port, err := startServer(server, asked.numbers[requestReadLimit])
	if err != nil {
		return fmt.Errorf("%s: %w", command[0], err)
	}
	defer server.Process.Kill()

	folder, err := os.MkdirTemp("", "ringway-behind-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	path := folder + "/ringway.toml"
	cert, tls, err := listenerTLS(asked, folder)
	if err != nil {
		return err
	}
	text := fmt.Appendf(nil, config, tls, port)
	if err := os.WriteFile(path, append(text, os.Getenv("BEHIND_CONFIG")...), 0o600); err != nil {
		return err
	}
	gateway := exec.Command(ringway, "run", "--config", path)
	ours, err := startGateway(gateway)
	if err != nil {
		return fmt.Errorf("%s: %w", ringway, err)
	}
	defer gateway.Process.Kill()

	answer := binary.AppendUvarint(nil, responseHost<<3|2)
	answer = append(binary.AppendUvarint(answer, uint64(len(host))), host...)
	answer = binary.AppendUvarint(binary.AppendUvarint(answer, responsePort<<3), ours)
	if len(cert) > 0 {
		answer = binary.AppendUvarint(binary.AppendUvarint(answer, responseCert<<3|2), uint64(len(cert)))
		answer = append(answer, cert...)
	}
	if err := write(os.Stdout, answer); err != nil {
		return err
	}
	return wait(told, server, gateway)
}

// listenerTLS writes the files that the runner's certificates are, and gives the listener's own certificate and the tables
// that name them. Nothing without TLS.
func listenerTLS(asked fields, folder string) ([]byte, string, error) {
	if asked.numbers[requestUseTLS] == 0 {
		return nil, "", nil
	}
	creds, err := parse(asked.bytes[requestCreds])
	if err != nil {
		return nil, "", fmt.Errorf("the server's certificate: %w", err)
	}
	cert, clients := creds.bytes[credsCert], asked.bytes[requestClientCert]
	for name, content := range map[string][]byte{"tls.crt": cert, "tls.key": creds.bytes[credsKey], "clients.pem": clients} {
		if err := os.WriteFile(folder+"/"+name, content, 0o600); err != nil {
			return nil, "", err
		}
	}
	tables := ""
	if len(clients) > 0 {
		tables = "[listeners.tls]\nrequire_client_certificate = true\n" +
			"[listeners.tls.validation_context]\ntrusted_ca = \"clients.pem\"\n"
	}
	return cert, tables + "[[listeners.tls.tls_certificates]]\ncertificate_chain = \"tls.crt\"\nprivate_key = \"tls.key\"\n", nil
}

// wait ends when the runner says so, or with an error when a program ends before.
func wait(told <-chan os.Signal, programs ...*exec.Cmd) error {
	ended := make(chan error, len(programs))
	for _, program := range programs {
		go func() { ended <- fmt.Errorf("%s has ended: %v", program.Path, program.Wait()) }()
	}
	select {
	case <-told:
		return nil
	case err := <-ended:
		return err
	}
}

// startServer starts the server behind, and gives its port.
func startServer(server *exec.Cmd, readLimit uint64) (uint64, error) {
	in, err := server.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := server.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := server.Start(); err != nil {
		return 0, err
	}
	request := []byte{requestProtocol << 3, protocolGRPC, requestHTTPVersion << 3, http2}
	if readLimit > 0 {
		request = binary.AppendUvarint(append(request, requestReadLimit<<3), readLimit)
	}
	if err := write(in, request); err != nil {
		return 0, err
	}
	answer, err := read(out)
	return answer.numbers[responsePort], err
}

// startGateway starts Ringway, and gives the port that it listens on once it is ready.
func startGateway(gateway *exec.Cmd) (uint64, error) {
	out, err := gateway.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := gateway.Start(); err != nil {
		return 0, err
	}
	ready := regexp.MustCompile(`ready .*listeners=\[([^\]]+)\]`)
	found := make(chan uint64, 1)
	go func() {
		defer close(found)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			log.Print(lines.Text())
			if match := ready.FindStringSubmatch(lines.Text()); match != nil {
				_, text, _ := net.SplitHostPort(match[1])
				port, _ := strconv.ParseUint(text, 10, 16)
				found <- port
			}
		}
	}()
	select {
	case port, ok := <-found:
		if !ok {
			return 0, errors.New("it has ended before it was ready")
		}
		return port, nil
	case <-time.After(30 * time.Second):
		gateway.Process.Kill()
		return 0, errors.New("it is not ready after 30 s")
	}
}

func write(to io.Writer, message []byte) error {
	_, err := to.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
	return err
}

func read(from io.Reader) (fields, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return fields{}, err
	}
	message := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(from, message); err != nil {
		return fields{}, err
	}
	return parse(message)
}

func parse(message []byte) (fields, error) {
	found := fields{map[uint64]uint64{}, map[uint64][]byte{}}
	number := func() uint64 {
		value, size := binary.Uvarint(message)
		message = message[max(size, 0):]
		return value
	}
	for len(message) > 0 {
		before := len(message)
		key, value := number(), number()
		switch {
		case len(message) == before || (key&7 == 2 && value > uint64(len(message))):
			return found, errors.New("the message is cut")
		case key&7 == 0:
			found.numbers[key>>3] = value
		case key&7 == 2:
			found.bytes[key>>3] = message[:value]
			message = message[value:]
		default:
			return found, fmt.Errorf("field %d is neither a number nor bytes", key>>3)
		}
	}
	return found, nil
}
