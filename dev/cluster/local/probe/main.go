// Command probe is the only program of the cluster's own tiny image.
//
// Without arguments it holds a pod's namespaces open and collects orphans, as the sandbox of every pod and as the
// first process of every real node must. With arguments it does the small things that tests ask of a pod.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = "probe [hold | serve ADDRESS TEXT | get URL | resolve NAME | write FILE TEXT | read FILE | sleep DURATION]"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		hold()
		return nil
	}
	command, rest := args[0], args[1:]
	switch {
	case command == "hold" && len(rest) == 0:
		hold()
		return nil
	case command == "serve" && len(rest) == 2:
		return serve(rest[0], rest[1])
	case command == "get" && len(rest) == 1:
		return get(rest[0])
	case command == "resolve" && len(rest) == 1:
		return resolve(rest[0])
	case command == "write" && len(rest) == 2:
		return os.WriteFile(rest[0], []byte(rest[1]), 0o644)
	case command == "read" && len(rest) == 1:
		content, err := os.ReadFile(rest[0])
		fmt.Println(string(content))
		return err
	case command == "sleep" && len(rest) == 1:
		pause, err := time.ParseDuration(rest[0])
		time.Sleep(pause)
		return err
	}
	return fmt.Errorf("usage: %s", usage)
}

// hold waits for the end. As process 1 it must also collect children that others left to it.
func hold() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
	}
}

func serve(address, text string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	server := &http.Server{Addr: address, ReadHeaderTimeout: 5 * time.Second}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, text) })
	go func() {
		<-signals
		server.Close()
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func get(url string) error {
	client := http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

func resolve(name string) error {
	deadline, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(deadline, name)
	fmt.Println(strings.Join(addresses, "\n"))
	return err
}
