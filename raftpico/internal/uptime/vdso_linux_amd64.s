#include "funcdata.h"
#include "textflag.h"

// The function of C has this frame for its stack, of which it takes some hundred bytes. So nothing is switched: no signal, and no
// profile, finds this goroutine anywhere but on its own stack. (Go's syscall.Gettimeofday does the same, with less room.)

// func call(function uintptr) (seconds, nanoseconds, result int64)
TEXT ·call(SB), 0, $1088-32
	NO_LOCAL_POINTERS
	MOVQ	function+0(FP), AX
	MOVL	$7, DI		// clockBoottime
	LEAQ	1072(SP), SI	// where it writes to
	MOVQ	SP, R12		// which it keeps
	LEAQ	1056(SP), SP
	ANDQ	$~15, SP
	CALL	AX
	MOVQ	R12, SP
	MOVLQSX	AX, AX
	MOVQ	AX, result+24(FP)
	MOVQ	1072(SP), AX
	MOVQ	AX, seconds+8(FP)
	MOVQ	1080(SP), AX
	MOVQ	AX, nanoseconds+16(FP)
	RET
