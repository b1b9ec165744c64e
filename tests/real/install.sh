#!/usr/bin/env bash
# Installs the programs that the stories of tests/it use beside our own: Debian packages where a command is missing,
# and below target/real, outside the source tree, what comes from PyPI and npm. What is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly REAL=$PWD/target/real

has() {
    command -v "$1" >/dev/null
}

# Adds a package to those that are missing unless a command says that it is there.
declare -a missing=()
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

install_debian_packages() {
    need chromium has chromium
    need curl has curl
    need dbus has dbus-daemon
    need dbus-bin has dbus-send
    need dbus-user-session test -e /usr/lib/systemd/user/dbus.socket
    need g++ has c++
    need gcc has cc
    need gdb has gcore
    need libc6-dev test -e /usr/include/stdio.h
    need gnome-keyring has gnome-keyring-daemon
    need libsecret-tools has secret-tool
    need python3 has python3
    need strace has strace
    need python3-venv python3 -c 'import ensurepip, venv'
    need systemd has systemd-analyze
    need util-linux has nsenter
    need valgrind has valgrind
    if ((${#missing[@]} == 0)); then
        return
    fi
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    local sudo=''
    ((EUID == 0)) || sudo=sudo
    $sudo apt-get update -qq
    $sudo apt-get install -qq -y --no-install-recommends "${missing[@]}"
}

# Makes a virtual environment below target/real of a file with requirements.
install_python_packages() {
    local wanted=tests/real/$1 venv=$REAL/$2
    if cmp -s "$wanted" "$venv/requirements.txt"; then
        return
    fi
    echo "installing $3"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --retries 5 -r "$wanted"
    cp "$wanted" "$venv/requirements.txt"
}

# oidc-provider.
install_node_packages() {
    local wanted=tests/real/oidc_provider/package.json installed=$REAL/node/installed.json
    if cmp -s "$wanted" "$installed"; then
        return
    fi
    echo 'installing oidc-provider'
    mkdir -p "$REAL/node"
    cp "$wanted" "$REAL/node/package.json"
    PATH=$REAL/venv/bin:$PATH npm install --prefix "$REAL/node" --silent --no-package-lock --ignore-scripts
    cp "$wanted" "$installed"
}

# For the static shim. It is an optimisation: where it cannot be had, everything else still works.
add_rust_target() {
    local target=x86_64-unknown-linux-musl
    if has rustup && ! rustup target list --installed | grep -qx $target; then
        timeout 300 rustup target add $target || echo "going on without $target"
    fi
}

install_debian_packages
# Node is from there, too: Debian 12 has one that is too old for oidc-provider.
install_python_packages requirements.txt venv 'flytekit and node'
# Not beside flytekit: each has its own idea of which versions of what they share are good.
install_python_packages schemathesis.txt schemathesis schemathesis
install_node_packages
add_rust_target
