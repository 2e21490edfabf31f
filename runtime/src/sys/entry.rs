//! Where the program begins on x86-64, before the C library: what [`crate::seal`] does, without what a start costs.
//!
//! The commands that make processes run the program a second time, from a mount that nothing can write to. The C
//! library's own start takes longer than all system calls of that step (it asks the processor about its caches,
//! and under a hypervisor each question is a trap), and the first run needs nothing of it. So this does the step by
//! hand; wherever it does not get through, the ordinary start follows and [`crate::seal::ensure`] does it again.
//!
//! Nothing is judged here that matters: `ensure` looks at what it runs from, not at what was done here. No memory
//! is used but the stack below the arguments, no descriptor is left open.
//!
//! | register | holds |
//! |---|---|
//! | r12 | the stack as the kernel made it: the count of arguments, them, 0, the environment, 0 |
//! | r13 | what the C library expects in rdx |
//! | r14, r15, rbp | descriptors: the overlay's context, its mount, the program in it; -1 before |
//! | rsp | the path of the folder, 4 KiB; at 4096 the program's name, 256 bytes |

use std::arch::global_asm;

global_asm!(
    ".pushsection .text.wharf_runtime_entry, \"ax\", @progbits",
    ".globl wharf_runtime_entry",
    ".type wharf_runtime_entry, @function",
    "wharf_runtime_entry:",
    "mov r12, rsp",
    "mov r13, rdx",
    // Is a process to be made? One of the arguments, but the first, is `run`, `exec` or `create`. Reading four
    // bytes where a shorter one ends stays on the stack: the kernel puts the program's path and eight zeros last.
    "mov rcx, [r12]",
    "lea rbx, [r12 + 8]",
    "2:",
    "dec rcx",
    "jle 9f",
    "add rbx, 8",
    "mov rsi, [rbx]",
    "mov eax, [rsi]",
    "cmp eax, 0x006e7572", // "run" and its end
    "je 3f",
    "cmp eax, 0x63657865", // "exec"
    "je 4f",
    "cmp eax, 0x61657263", // "crea"
    "jne 2b",
    "cmp dword ptr [rsi + 3], 0x00657461", // "ate" and its end
    "jne 2b",
    "jmp 3f",
    "4:",
    "cmp byte ptr [rsi + 4], 0",
    "jne 2b",
    // Has it been done? The environment says `_WHARF_RUNTIME_SEALED=`.
    "3:",
    "mov rcx, [r12]",
    "lea rbx, [r12 + 8*rcx + 16]",
    "movabs rdx, 0x525f46524148575f", // "_WHARF_R"
    "movabs rdi, 0x535f454d49544e55", // "UNTIME_S"
    "5:",
    "mov rsi, [rbx]",
    "test rsi, rsi",
    "jz 6f",
    "add rbx, 8",
    "cmp [rsi], rdx",
    "jne 5b",
    "cmp [rsi + 8], rdi",
    "je 9f",
    "jmp 5b",
    // rbx is at the environment's end now, and stays there.
    "6:",
    "sub rsp, 4096 + 256",
    "mov r14, -1",
    "mov r15, -1",
    "mov rbp, -1",
    // Where is this program? In the folder's path stands nothing that overlayfs reads as more than a name.
    "mov eax, 89", // readlink
    "lea rdi, [rip + 40f]",
    "mov rsi, rsp",
    "mov edx, 4080",
    "syscall",
    "test rax, rax",
    "jle 8f",
    "cmp rax, 4080",
    "jge 8f",
    "mov byte ptr [rsp + rax], 0",
    "lea rsi, [rsp + rax]",
    "7:",
    "cmp rsi, rsp",
    "je 8f",
    "dec rsi",
    "cmp byte ptr [rsi], 47", // '/'
    "jne 7b",
    "mov rdi, rsp",
    "10:",
    "cmp rdi, rsi",
    "je 11f",
    "mov al, [rdi]",
    "inc rdi",
    "cmp al, 58", // ':'
    "je 8f",
    "cmp al, 92", // '\\'
    "je 8f",
    "cmp al, 44", // ','
    "je 8f",
    "jmp 10b",
    // The name behind the last slash, which is never longer than 255 bytes.
    "11:",
    "lea rdi, [rsp + 4096]",
    "lea r8, [rsi + 1]",
    "mov ecx, 256",
    "12:",
    "mov al, [r8]",
    "mov [rdi], al",
    "inc r8",
    "inc rdi",
    "test al, al",
    "jz 13f",
    "dec ecx",
    "jnz 12b",
    "jmp 8f",
    // A read-only overlay needs a second folder; of /dev itself another.
    "13:",
    "cmp rsi, rsp",
    "jne 14f",
    "inc rsi", // the folder is the root itself
    "14:",
    "mov eax, 0x7379732f", // "/sys"
    "cmp dword ptr [rsp], 0x7665642f",
    "je 15f",
    "mov eax, 0x7665642f", // "/dev"
    "15:",
    "mov byte ptr [rsi], 58",
    "mov [rsi + 1], eax",
    "mov byte ptr [rsi + 5], 0",
    // The overlay, detached: no path leads to it.
    "mov eax, 430", // fsopen
    "lea rdi, [rip + 41f]",
    "mov esi, 1", // FSOPEN_CLOEXEC
    "syscall",
    "test eax, eax",
    "js 8f",
    "mov r14d, eax",
    "mov eax, 431", // fsconfig
    "mov edi, r14d",
    "mov esi, 1", // FSCONFIG_SET_STRING
    "lea rdx, [rip + 42f]",
    "mov r10, rsp",
    "xor r8d, r8d",
    "syscall",
    "test eax, eax",
    "jnz 8f",
    "mov eax, 431",
    "mov edi, r14d",
    "mov esi, 6", // FSCONFIG_CMD_CREATE
    "xor edx, edx",
    "xor r10d, r10d",
    "xor r8d, r8d",
    "syscall",
    "test eax, eax",
    "jnz 8f",
    "mov eax, 432", // fsmount
    "mov edi, r14d",
    "mov esi, 1", // FSMOUNT_CLOEXEC
    "mov edx, 5", // MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV
    "syscall",
    "test eax, eax",
    "js 8f",
    "mov r15d, eax",
    "mov eax, 257", // openat
    "mov edi, r15d",
    "lea rsi, [rsp + 4096]",
    "mov edx, 0x2a0000", // O_PATH | O_NOFOLLOW | O_CLOEXEC
    "xor r10d, r10d",
    "syscall",
    "test eax, eax",
    "js 8f",
    "mov ebp, eax",
    // The same arguments; the environment with the mark before it.
    "mov rcx, [r12]",
    "lea rsi, [r12 + 8*rcx + 16]",
    "mov rax, rbx",
    "sub rax, rsi",
    "add rax, 31", // the mark, the end, and whole sixteens
    "and rax, -16",
    "sub rsp, rax",
    "lea rax, [rip + 43f]",
    "mov [rsp], rax",
    "lea rdi, [rsp + 8]",
    "16:",
    "mov rax, [rsi]",
    "mov [rdi], rax",
    "add rsi, 8",
    "add rdi, 8",
    "test rax, rax",
    "jnz 16b",
    "mov eax, 322", // execveat
    "mov edi, ebp",
    "lea rsi, [rip + 44f]",
    "lea rdx, [r12 + 8]",
    "mov r10, rsp",
    "mov r8d, 0x1000", // AT_EMPTY_PATH
    "syscall",
    // Not got through: nothing is left open.
    "8:",
    "mov edi, ebp",
    "mov eax, 3", // close
    "syscall",
    "mov edi, r15d",
    "mov eax, 3",
    "syscall",
    "mov edi, r14d",
    "mov eax, 3",
    "syscall",
    // The ordinary start.
    "9:",
    "mov rsp, r12",
    "mov rdx, r13",
    "xor ebp, ebp",
    "jmp _start",
    "40: .asciz \"/proc/self/exe\"",
    "41: .asciz \"overlay\"",
    "42: .asciz \"lowerdir\"",
    "43: .asciz \"_WHARF_RUNTIME_SEALED=1\"",
    "44: .byte 0",
    ".popsection",
);
