// Measures Coraza for `cargo xtask bench waf`, which says the protocol (engine.rs): loads the rules
// once, then runs transactions (request phases) as it is told on standard input.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/corazawaf/coraza/v3"
)

type header struct{ name, value string }

type request struct {
	method, target, protocol string
	headers                  []header
	body                     []byte
}

// One raw HTTP/1.1 request; the file is the benchmark's own, so it is not checked.
func parse(raw []byte) request {
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	first := strings.SplitN(lines[0], " ", 3)
	parsed := request{method: first[0], target: first[1], protocol: first[2], body: body}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		parsed.headers = append(parsed.headers, header{name, value})
	}
	return parsed
}

func load(path string) ([]request, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var requests []request
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		var length int
		if _, err := fmt.Sscanf(string(line), "request %d", &length); err != nil {
			return nil, err
		}
		requests = append(requests, parse(rest[:length]))
		text = rest[length:]
	}
	return requests, nil
}

func inspect(waf coraza.WAF, request *request) (bool, error) {
	transaction := waf.NewTransaction()
	defer transaction.Close()
	transaction.ProcessConnection("203.0.113.7", 40000, "192.0.2.1", 80)
	transaction.ProcessURI(request.target, request.method, request.protocol)
	for _, header := range request.headers {
		transaction.AddRequestHeader(header.name, header.value)
	}
	if transaction.ProcessRequestHeaders() != nil {
		return true, nil
	}
	if len(request.body) > 0 {
		stop, _, err := transaction.WriteRequestBody(request.body)
		if err != nil || stop != nil {
			return stop != nil, err
		}
	}
	stop, err := transaction.ProcessRequestBody()
	return stop != nil, err
}

func version() string {
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == "github.com/corazawaf/coraza/v3" {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return ""
}

// Nanoseconds that the process has spent so far, in all its threads: the garbage collector's too.
func processorTime() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func run(waf coraza.WAF, requests []request, next *int, most int, limit time.Duration) string {
	deadline := time.Now().Add(limit)
	var times []int64
	var blocked int64
	before := processorTime()
	for {
		request := &requests[*next%len(requests)]
		*next++
		start := time.Now()
		stop, err := inspect(waf, request)
		spent := time.Since(start).Nanoseconds()
		if err != nil {
			return "error " + err.Error()
		}
		times = append(times, spent)
		if stop {
			blocked++
		}
		if len(times) >= most || time.Now().After(deadline) {
			break
		}
	}
	each := (processorTime() - before) / int64(len(times))
	slices.Sort(times)
	return fmt.Sprintf("ran %d %d %d %d", len(times), blocked, times[len(times)/2], each)
}

func main() {
	began := time.Now()
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectivesFromFile(os.Args[1]))
	if err != nil {
		fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(3)
	}
	fmt.Println("ready", time.Since(began).Microseconds(), "coraza", version(), regexes)

	var requests []request
	next := 0
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		var most, milliseconds int
		switch verb {
		case "load":
			if requests, err = load(rest); err != nil {
				fmt.Println("error", err)
				continue
			}
			next = 0
			fmt.Println("loaded", len(requests))
		case "run":
			if _, err := fmt.Sscan(rest, &most, &milliseconds); err != nil || len(requests) == 0 {
				fmt.Println("error not understood:", lines.Text())
				continue
			}
			fmt.Println(run(waf, requests, &next, most, time.Duration(milliseconds)*time.Millisecond))
		default:
			fmt.Println("error not understood:", lines.Text())
		}
	}
}
