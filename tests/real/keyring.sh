#!/usr/bin/env bash
# A private session bus with gnome-keyring on it, all below one directory, in every state that a keyring can be in.
#
#   keyring.sh bus    DIR   starts the bus alone: nobody offers a Secret Service, nobody can be activated
#   keyring.sh start  DIR   starts the keyring, unlocked, and the bus if need be
#   keyring.sh boot   DIR   the same on an existing collection without the password, as after a login by key: locked
#   keyring.sh lock   DIR   locks the login collection, as a screen lock may
#   keyring.sh unlock DIR   unlocks it as PAM does when the person comes back
#   keyring.sh locked DIR   prints true or false
#   keyring.sh items  DIR   prints how many secrets the login collection has
#   keyring.sh kill   DIR   ends the keyring by SIGKILL; the bus stays, the secrets stay on disk
#   keyring.sh cut    DIR   ends the bus by SIGKILL, and with it the keyring
#   keyring.sh hang   DIR   stops the keyring by SIGSTOP: it answers nothing
#   keyring.sh resume DIR   ends that
#   keyring.sh stop   DIR   ends everything
#
# A client needs one variable: DBUS_SESSION_BUS_ADDRESS=unix:path=DIR/bus
# The bus knows no service files, so no prompter can be started: a prompt fails at once instead of waiting for a person.
# DIR must be short, as a socket's path has 107 bytes at most.
set -euo pipefail

readonly PASSWORD='correct horse'
readonly SERVICE=org.freedesktop.secrets
readonly LOGIN=/org/freedesktop/secrets/collection/login

usage() {
    sed -n '4,15s/^# *//p' "$0" >&2
    exit 2
}

# Runs a command until it succeeds, for ten seconds at most.
await() {
    for _ in $(seq 200); do
        if "$@" 2>>"$DIR/await.log"; then
            return
        fi
        sleep 0.05
    done
    echo "keyring.sh: gave up on: $*" >&2
    tail -n 5 "$DIR"/*.log >&2
    exit 1
}

# Calls a method: destination, path, method, arguments.
call() {
    dbus-send --bus="unix:path=$DIR/bus" --print-reply --reply-timeout=3000 --dest="$1" "${@:2}"
}

has_owner() {
    call org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner "string:$SERVICE" | grep -q 'boolean true'
}

# Reads a property of the login collection.
property() {
    call $SERVICE $LOGIN org.freedesktop.DBus.Properties.Get \
        string:org.freedesktop.Secret.Collection "string:$1"
}

bus() {
    mkdir -p "$DIR/home" "$DIR/run"
    chmod 0700 "$DIR/run"
    cat >"$DIR/bus.conf" <<EOF
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=$DIR/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
EOF
    dbus-daemon --config-file="$DIR/bus.conf" --nofork --nopidfile </dev/null >"$DIR/bus.log" 2>&1 &
    echo $! >"$DIR/bus.pid"
    await call org.freedesktop.DBus / org.freedesktop.DBus.GetId >/dev/null
}

# Starts the keyring with the password, if any, on its standard input (which `&` alone would replace).
keyring() {
    [[ -S $DIR/bus ]] || bus
    env -u XDG_CONFIG_HOME -u XDG_CACHE_HOME \
        HOME="$DIR/home" XDG_DATA_HOME="$DIR/home" XDG_RUNTIME_DIR="$DIR/run" \
        DBUS_SESSION_BUS_ADDRESS="unix:path=$DIR/bus" \
        gnome-keyring-daemon --foreground --components=secrets "$@" <&0 >"$DIR/keyring.log" 2>&1 &
    echo $! >"$DIR/keyring.pid"
    await has_owner
}

# Speaks the protocol of pam_gnome_keyring: a byte that carries credentials, then length, operation 1, password.
# Starting another `gnome-keyring-daemon --unlock` would not do: it leaves the running one as it is.
unlock() {
    python3 - "$DIR/run/keyring/control" "$PASSWORD" <<'EOF'
import socket, struct, sys

with socket.socket(socket.AF_UNIX) as control:
    control.settimeout(5)
    control.connect(sys.argv[1])
    password = sys.argv[2].encode()
    control.sendall(b"\0" + struct.pack(">III", 12 + len(password), 1, len(password)) + password)
    length, result = struct.unpack(">II", control.recv(8, socket.MSG_WAITALL))
sys.exit(f"keyring.sh: the keyring answered {result} to the password" if result else 0)
EOF
}

# Sends a signal to one of the two processes, and waits for its end if that is what the signal does.
signal() {
    local pid
    pid=$(cat "$DIR/$2.pid")
    kill -s "$1" "$pid"
    if [[ $1 == KILL ]]; then
        await ended "$pid"
        rm "$DIR/$2.pid"
    fi
}

ended() {
    ! kill -0 "$1" || grep -q '^State:.Z' "/proc/$1/status"
}

[[ $# == 2 ]] || usage
DIR=$2
case $1 in
    bus) bus ;;
    start) keyring --unlock < <(printf %s "$PASSWORD") ;;
    boot) keyring </dev/null ;;
    lock) call $SERVICE /org/freedesktop/secrets org.freedesktop.Secret.Service.Lock "array:objpath:$LOGIN" >/dev/null ;;
    unlock) unlock ;;
    locked) property Locked | awk '/boolean/ { print $3 }' ;;
    items) property Items | grep -c "$LOGIN/" || true ;;
    kill) signal KILL keyring ;;
    cut)
        signal KILL keyring
        signal KILL bus
        rm -f "$DIR/bus"
        ;;
    hang) signal STOP keyring ;;
    resume) signal CONT keyring ;;
    stop)
        for process in keyring bus; do
            if [[ -f $DIR/$process.pid ]] && ! ended "$(cat "$DIR/$process.pid")" 2>>"$DIR/await.log"; then
                signal KILL $process
            fi
        done
        ;;
    *) usage ;;
esac
