package system

import (
	"net"
	"strconv"
)

// Levels and formats of the log.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"

	LogJSON    LogFormat = "json"
	LogConsole LogFormat = "console"
)

func (v *validation) telemetry() {
	t := v.Telemetry
	if t.LogLevel != "" {
		v.oneOf("telemetry.log_level", string(t.LogLevel), string(LogDebug), string(LogInfo), string(LogWarn), string(LogError))
	}
	if t.LogFormat != "" {
		v.oneOf("telemetry.log_format", string(t.LogFormat), string(LogJSON), string(LogConsole))
	}
	if t.Metrics != "" {
		v.listen("telemetry.metrics", t.Metrics, "metrics_remote: true", t.MetricsRemote)
	}
	if t.Traces != "" {
		v.url("telemetry.traces", t.Traces)
	}
}

// listen reports an address that can't be listened at, or that others reach
// although nothing says that they may.
func (v *validation) listen(path, address, permission string, remote bool) {
	host, port, err := net.SplitHostPort(address)
	if number, numberErr := strconv.ParseUint(port, 10, 16); err != nil || numberErr != nil || number == 0 {
		v.add(path, "write host:port, as in 127.0.0.1:9464", "%q is no address to listen at", address)
		return
	}
	if !Loopback(host) && !remote {
		v.add(path, "listen at 127.0.0.1, or allow it with "+permission, "%s can be reached from other hosts", address)
	}
}

// Loopback says whether a host's name or address is this host's own, out of everybody's reach.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
