// Command service answers every method with an empty message, by grpc-go. It prints its address.
package main

import (
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"
)

// raw is the codec of messages that are bytes.
type raw struct{}

func (raw) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (raw) Unmarshal(bytes []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), bytes...)
	return nil
}

func (raw) Name() string { return "proto" }

func empty(_ any, stream grpc.ServerStream) error {
	message := []byte{}
	if err := stream.RecvMsg(&message); err != nil {
		return err
	}
	message = nil
	return stream.SendMsg(&message)
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(empty))
	log.Fatal(server.Serve(listener))
}
