package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// describeMachine prints what the figures depend on.
func (b *bench) describeMachine() {
	memory := strings.TrimSuffix(valueIn("/proc/meminfo", "MemTotal"), " kB")
	var kib int64
	if _, err := fmt.Sscan(memory, &kib); err != nil {
		memory = "unknown"
	} else {
		memory = fmt.Sprintf("%.1f GiB", float64(kib)/(1<<20))
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	b.note("machine: %d cores, %s memory, %s, %s %s, %s", runtime.NumCPU(), memory, valueIn("/proc/cpuinfo", "model name"),
		runtime.GOOS, strings.TrimSpace(string(kernel)), runtime.Version())
	b.note("load average at the start: %s", loadAverage())
}

// loadAverage is that of one, five and fifteen minutes: figures that were taken
// while the machine worked for others are worth less.
func loadAverage() string {
	raw, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(raw))
	if err != nil || len(fields) < 3 {
		return "unknown"
	}
	return strings.Join(fields[:3], " ")
}

// valueIn reads the value behind the first "key:" of a file of /proc.
func valueIn(path, key string) string {
	file, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, found := strings.Cut(lines.Text(), ":")
		if found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// peakMemory is the most memory that a process ever had resident at once
// (VmHWM), in MiB.
func peakMemory(pid int) (float64, error) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	var kib int64
	if _, err := fmt.Sscan(valueIn(path, "VmHWM"), &kib); err != nil {
		return 0, fmt.Errorf("read VmHWM in %s: %w", path, err)
	}
	return float64(kib) / 1024, nil
}

// forgetPeak makes a process's peak memory what it has resident now (proc(5), clear_refs).
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}
