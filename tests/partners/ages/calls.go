// Command ages calls over many connections by grpc-go: ages ADDRESS CONNECTIONS SECONDS
package main

import (
	"context"
	"fmt"
	"log"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// EmployeeService.GetEmployee with employee_id = 1, as bytes: no compiled messages are needed.
const method = "/ringway.demo.employee.v1.EmployeeService/GetEmployee"

const pause = 2 * time.Second

// raw is the codec of messages that are bytes.
type raw struct{}

func (raw) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (raw) Unmarshal(bytes []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), bytes...)
	return nil
}

func (raw) Name() string { return "proto" }

func main() {
	log.SetFlags(0)
	connections, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	seconds, err := strconv.Atoi(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	until := time.Now().Add(time.Duration(seconds) * time.Second)
	var calls, failed atomic.Int64
	var all sync.WaitGroup
	for range connections {
		all.Add(1)
		go func() {
			defer all.Done()
			conn, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				log.Fatal(err)
			}
			defer conn.Close()
			for time.Now().Before(until) {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				request, reply := []byte{8, 1}, []byte(nil)
				err := conn.Invoke(ctx, method, &request, &reply, grpc.ForceCodec(raw{}))
				cancel()
				if err == nil {
					calls.Add(1)
				} else if failed.Add(1) <= 5 {
					fmt.Println(err)
				}
				time.Sleep(time.Duration(rand.Int63n(int64(pause))))
			}
		}()
	}
	all.Wait()
	fmt.Printf("grpc-go %s: %d calls, %d failed\n", grpc.Version, calls.Load(), failed.Load())
}
