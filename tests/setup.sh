# What the steps of tests/run need, and how a Debian machine gets it. Sourced by tests/run.

cargo_deny_version=0.20.2
cargo_semver_checks_version=0.51.0
mdbook_version=0.5.4

# What the steps named in the arguments need. Ends the (sub)shell when that cannot be had. Everything is looked for first, so a complete machine loses no time.
set_up() {
    local step
    need cargo "install Rust: https://rustup.rs"
    command -v cc >/dev/null || apt_get gcc libc6-dev
    for step; do
        case $step in
            fmt) need_component fmt rustfmt ;;
            clippy | features | measure) need_component clippy clippy ;;&
            features | examples) need_node ;;
            deny) install_cargo_deny ;;
            unit) install_redis; command -v openssl >/dev/null || apt_get openssl ;;
            e2e | smoke) install_packages tests/e2e; install_packages tests/typescript; install_redis; install_balancers ;;
            browser) install_packages tests/browser; install_packages examples/todos/web; install_chromium ;;
            book) install_packages tests/e2e; install_packages tests/browser; install_chromium; install_balancers; install_caddy; install_mdbook ;;
        esac
    done
    echo "ready"
}

need() { command -v "$1" >/dev/null || give_up "$1 is missing; $2"; }

give_up() {
    echo "CANNOT GO ON: $*" >&2
    exit 1
}

need_component() {
    cargo "$1" --version >/dev/null 2>&1 && return
    need rustup "the Rust toolchain has no $2"
    rustup component add "$2"
}

need_node() {
    need node "install Node.js 20 or later with npm"
    need npm "install npm"
    local version=$(node -p 'process.versions.node.split(".")[0]')
    [ "$version" -ge 20 ] || give_up "Node.js $version is too old; 20 or later is needed"
}

# The npm packages of a folder, when they are missing or its package files changed.
install_packages() {
    need_node
    local stamp=$1/node_modules/.installed wanted
    wanted=$(cat "$1"/package*.json | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    echo "npm packages of $1"
    local install=install
    [ ! -e "$1/package-lock.json" ] || install=ci
    (cd "$1" && npm "$install" --no-audit --no-fund --loglevel=error) || give_up "npm could not install the packages of $1"
    echo "$wanted" >"$stamp"
}

# Tests start servers of their own on free ports.
install_redis() {
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null || apt_get redis-server redis-tools
}

# Those of examples/cluster. Tests start them on free ports; as services they are of no use here.
install_balancers() {
    PATH=$PATH:/usr/sbin command -v nginx >/dev/null && PATH=$PATH:/usr/sbin command -v haproxy >/dev/null || apt_get nginx-light haproxy
}

# The path of a Chromium, if there is one.
find_chromium() {
    local name
    for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
        [ -n "$name" ] && command -v "$name" && return
    done
    return 1
}

install_chromium() {
    find_chromium >/dev/null && return
    apt_get chromium
    find_chromium >/dev/null || give_up "chromium was installed, but there is no command of that name; set CHROMIUM to its path"
}

apt_get() {
    command -v apt-get >/dev/null || give_up "$* is missing, and there is no apt-get to install it with"
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || give_up "$* is missing; install it as root: apt-get install $*"
        sudo=(sudo -n)
    fi
    echo "installing $*"
    "${sudo[@]}" apt-get -qq update || echo "apt-get update failed; trying with the lists that are there"
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" >"$logs/apt" 2>&1 && return
    tail -20 "$logs/apt" >&2
    give_up "apt-get could not install $*"
}

# The path of cargo-deny: the user's own, or the one built here.
cargo_deny() { command -v cargo-deny || echo "$target/tools/bin/cargo-deny"; }

install_cargo_deny() {
    [ -x "$(cargo_deny)" ] || build_tool cargo-deny "$cargo_deny_version"
}

# The path of cargo-semver-checks: the user's own, or the one built here.
cargo_semver_checks() { command -v cargo-semver-checks || echo "$target/tools/bin/cargo-semver-checks"; }

install_cargo_semver_checks() {
    [ -x "$(cargo_semver_checks)" ] || build_tool cargo-semver-checks "$cargo_semver_checks_version"
}

# The path of mdbook of this version: the user's own, or the one built here.
mdbook_path() {
    local own=$(type -P mdbook)
    [ -n "$own" ] && [ "$("$own" --version)" = "mdbook v$mdbook_version" ] && echo "$own" && return
    echo "$target/tools/bin/mdbook"
}

# Without its server.
install_mdbook() {
    [ -x "$(mdbook_path)" ] || build_tool mdbook "$mdbook_version" --no-default-features --features search
}

# Builds a tool of crates.io without optimisation, which takes a minute instead of many; it has little to do here.
build_tool() {
    local name=$1 version=$2
    shift 2
    echo "building $name $version, once"
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
        cargo install --quiet --locked --version "$version" --root "$target/tools" \
        --target-dir "$target/tools/build" "$name" "$@" || give_up "$name could not be built"
    rm -rf "$target/tools/build"
}

install_caddy() { command -v caddy >/dev/null || apt_get caddy; }
