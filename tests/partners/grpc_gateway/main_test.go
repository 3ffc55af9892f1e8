package integration_test

// Stands in for the TestMain of grpc-gateway's integration tests: the services as there, and Ringway, which
// tests/partners/grpc_gateway.sh has started, in place of the gateway on port 8088.

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/examples/internal/gateway"
	"github.com/grpc-ecosystem/grpc-gateway/v2/examples/internal/server"
	gwruntime "github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
)

const (
	services  = "127.0.0.1:9090"
	inProcess = "127.0.0.1:8089"
)

// runGateway is for tests that want a gateway of their own.
func runGateway(ctx context.Context, addr string, opts ...gwruntime.ServeMuxOption) error {
	behind := gateway.Endpoint{Network: "tcp", Addr: services}
	return gateway.Run(ctx, gateway.Options{Addr: addr, GRPCServer: behind, Mux: opts})
}

// waitForGateway waits until the gateway on a port answers anything, ten seconds at most.
func waitForGateway(ctx context.Context, port uint16) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		answer, err := http.Get(fmt.Sprintf("http://localhost:%d/healthz", port))
		if err == nil {
			return answer.Body.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestMain(m *testing.M) {
	ctx := context.Background()
	go func() { log.Fatal(server.Run(ctx, "tcp", services)) }()
	go func() { log.Fatal(server.RunInProcessGateway(ctx, inProcess)) }()
	for _, port := range []uint16{8088, 8089} {
		if err := waitForGateway(ctx, port); err != nil {
			log.Fatalf("nobody answers on port %d: %v", port, err)
		}
	}
	os.Exit(m.Run())
}
