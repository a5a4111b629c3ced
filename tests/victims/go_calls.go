// A Go program: static, without libc, system calls from its own runtime on small stacks, preempted by signals.
package main

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

func calls(count int) int {
	good := 0
	for i := 0; i < count; i++ {
		var about syscall.Stat_t
		if syscall.Stat("/", &about) == nil && syscall.Getppid() == os.Getppid() {
			good++
		}
	}
	return good
}

func main() {
	fmt.Println("~", os.Getpid())
	fmt.Println("calls", calls(3000))
	var group sync.WaitGroup
	results := make(chan int, 8)
	for i := 0; i < 8; i++ {
		group.Add(1)
		go func() { defer group.Done(); results <- calls(500) }()
	}
	group.Wait()
	sum := 0
	for i := 0; i < 8; i++ {
		sum += <-results
	}
	fmt.Println("goroutines", sum)
	name := fmt.Sprintf("%s/go", os.Getenv("TMPDIR"))
	if os.WriteFile(name, make([]byte, 100000), 0600) != nil {
		os.Exit(2)
	}
	data, _ := os.ReadFile(name)
	os.Remove(name)
	time.Sleep(20 * time.Millisecond)
	fmt.Println("file", len(data))
	os.Exit(6)
}
